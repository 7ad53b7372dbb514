"""Every knob of the voice service."""

from pydantic import Field

from servicekit.settings import CommaList, Listen
from voice_service.mock.script import MockScript
from voice_service.provider_settings import ProviderSettings


class VoiceServiceSettings(ProviderSettings):
    """Settings of the voice service, from the environment."""

    listen: Listen = "127.0.0.1:50053"
    """gRPC bind address"""
    ops_listen: Listen = "127.0.0.1:9053"
    """HTTP bind address for operators"""
    default_provider: str = Field("elevenlabs", min_length=1, validation_alias="DEFAULT_VOICE_PROVIDER")
    """Voice provider that is tried first: elevenlabs, speech, offline, mock or one that was added"""
    provider_fallback: CommaList = ()
    """Voice providers that are tried in turn when the first can not speak; `offline` only when named"""
    mock_script: MockScript | None = None
    """Latency and faults of the mock provider (JSON), for demonstrations and tests"""
    storage_target: str = ""
    """Where the storage service is, whose segment store the voice service uses; unset: segments are in memory, and
    only callers that take the audio themselves are served
    """
    segment_words: int = Field(60, ge=1, le=200)
    """Words that a segment aims at; a narration under way is resumed only with the same number"""
    segments_ahead: int = Field(3, ge=0, le=32)
    """Segments of a narration that are made ahead of the one that goes out"""
    segments_ahead_total: int = Field(96, ge=1, le=10_000)
    """Segments that all narrations together make ahead"""
    audio_buffer_bytes: int = Field(32 << 20, ge=1 << 20, le=8 << 30)
    """Bytes of audio of all segments in the making, by an estimate from their text; further segments wait"""
    first_byte_seconds: float = Field(30.0, gt=0, le=600)
    """Seconds until a provider must send the first byte of a segment"""
    idle_seconds: float = Field(30.0, gt=0, le=600)
    """Seconds that a provider may pause within a segment"""
    segment_seconds: float = Field(30.0, gt=0, le=600)
    """Seconds that one call to a provider may take in all"""
    retries: int = Field(2, ge=0, le=10)
    """Most calls for a segment after the first to the same provider; each may bill"""
    retry_delay_seconds: float = Field(0.5, ge=0, le=60, validation_alias="VOICE_RETRY_DELAY")
    """Seconds that the wait before the first retry is drawn from; doubled each time"""
    retry_longest_wait_seconds: float = Field(10.0, ge=0, le=600, validation_alias="VOICE_RETRY_LONGEST_WAIT")
    """Longest wait before a retry; a provider that asks for more is passed over"""
    concurrency: int = Field(64, ge=1, le=4096)
    """Calls at once to a provider that does not bill; the embedded voice gets two for each worker"""
    paid_concurrency: int = Field(5, ge=1, le=4096)
    """Calls at once to a provider that bills"""
    requests_per_minute: float | None = Field(None, gt=0, le=1_000_000)
    """Most calls a minute to a provider that bills; unset: no limit"""
    breaker_failures: int = Field(3, ge=1, le=1000)
    """Failures in a row after which a provider is not called for a while"""
    slow_seconds: float = Field(10.0, gt=0, le=600)
    """Seconds to the first byte from which a call is slow, where sound comes as it is made; a provider that is mostly
    slow is not called for a while
    """
    breaker_seconds: float = Field(30.0, gt=0, le=3600)
    """Seconds after which a provider that failed is asked, without any text, whether it is well"""
    breaker_most_seconds: float = Field(600.0, gt=0, le=86_400, validation_alias="VOICE_BREAKER_MAX_SECONDS")
    """Most seconds between two such questions; the time between them doubles while it is not well"""
    max_audio_bytes: int = Field(512 << 20, ge=1 << 20, le=8 << 30, validation_alias="AUDIO_MAX_BYTES")
    """Bytes of one story's audio at most, as in the storage service: what would not fit is not spoken"""
    offline_workers: int = Field(0, ge=0, le=64)
    """Processes of the embedded voice; 0: one for each core, at most eight"""
    narration_seconds: float = Field(3600.0, gt=0, le=86_400)
    """Seconds that one narration may take"""
