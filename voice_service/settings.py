"""Settings of the voice service, from the environment."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from servicekit.settings import ApiUrl, CommaList, Listen, SharingSettings, Target, variables
from voice_service.providers.elevenlabs.api import BASE_URL, DEFAULT_MODEL
from voice_service.providers.mock.script import MockScript
from voice_service.providers.speech.config import MAX_TEXT_LENGTH


class VoiceServiceSettings(SharingSettings):
    """What an operator sets. The rest of what can be adjusted is `Tuning`."""

    model_config = variables("VOICE_", "elevenlabs_", "openai_", "speech_", "storage_", "transcribe_", "upstream_")
    prefixes = ("VOICE_", "SERVICE_", "CIRCUIT_", "ELEVENLABS_", "SPEECH_", "TRANSCRIBE_", "UPSTREAM_")
    elsewhere = frozenset({"VOICE_TARGET"})

    listen: Listen = "127.0.0.1:50053"
    """gRPC bind address"""
    ops_listen: Listen = "127.0.0.1:9053"
    """HTTP bind address for operators"""
    # Before what is judged by it: fields are validated in this order.
    upstream_allow_plain_http: bool = False
    """Allows http addresses of providers and stores on other machines; only for a trusted network. Servers of models in
    the own network need no such permission
    """
    storage_target: Target = ""
    """Address of the storage service, whose segment store is used; unset: segments are in memory only, and
    narrations for a gateway, which asks for delivery STORED, are refused
    """
    default_provider: str = Field("", validation_alias="DEFAULT_VOICE_PROVIDER")
    """Voice provider that is tried first: elevenlabs, speech, offline, mock or an added one; unset: the first that is
    set up of elevenlabs, speech, those of SPEECH_PROVIDERS and added ones
    """
    provider_fallback: CommaList = ()
    """Voice providers that are tried in this order if the first fails; `offline` only if named"""
    piper_dir: Path | None = None
    """Folder with Piper voices (each NAME.onnx with its NAME.onnx.json) for the embedded voice; unset: none"""
    mock_script: MockScript | None = None
    """Latency and faults of the mock provider (JSON), for demonstrations and tests"""

    elevenlabs_api_key: SecretStr | None = None
    """API key of ElevenLabs; unset: the provider elevenlabs is not available"""
    elevenlabs_api_key_file: Path | None = None
    """File with the API key of ElevenLabs"""
    elevenlabs_base_url: str = BASE_URL
    """Address of ElevenLabs or of a server with its API"""
    elevenlabs_model: str = Field(DEFAULT_MODEL, min_length=1, max_length=200)
    """Model of ElevenLabs if the request names none"""
    elevenlabs_voice: str = Field("", max_length=200)
    """Voice id of ElevenLabs if the request names none; unset: a voice of the account that suits the language"""
    elevenlabs_zero_retention: bool = False
    """Requests that ElevenLabs stores neither text nor audio; needs an enterprise plan"""

    speech_base_url: ApiUrl = ""
    """Address of a server with OpenAI's /audio/speech, without that path, such as http://127.0.0.1:8880/v1"""
    speech_api_key: SecretStr | None = None
    """API key of SPEECH_BASE_URL; unset: none is sent, and its calls count as free"""
    speech_api_key_file: Path | None = None
    """File with the API key of SPEECH_BASE_URL"""
    speech_model: str = Field("", max_length=200)
    """Model of SPEECH_BASE_URL; unset: the speech model that a server in the own network lists"""
    speech_voice: str = Field("", max_length=200)
    """Voice of SPEECH_MODEL, which reads English; unset: the voices that the server lists, by language"""
    speech_concurrency: int | None = Field(None, ge=1, le=4096)
    """Maximum number of concurrent calls to SPEECH_BASE_URL, 1 for a server that speaks one text at a time; unset: 2,
    and VOICE_PAID_CONCURRENCY where it has a key
    """
    speech_max_text_length: int = Field(MAX_TEXT_LENGTH, ge=100, le=100_000)
    """Maximum number of characters in one call to SPEECH_BASE_URL; longer segments are sent in parts"""
    speech_providers: str = ""
    """Further servers with OpenAI's /audio/speech (JSON list), see docs/voices.md"""
    speech_prices: CommaList = ()
    """US dollars per thousand characters by provider, or by provider and model, such as
    elevenlabs/eleven_v3=0.18,speech=0.015; unset: the cost of speech is not known and counts as 0
    """

    transcribe_base_url: ApiUrl = ""
    """Address of a server with OpenAI's /audio/transcriptions, such as http://127.0.0.1:8000/v1; unset: OpenAI's own"""
    transcribe_api_key: SecretStr | None = None
    """API key of TRANSCRIBE_BASE_URL; unset: OPENAI_API_KEY"""
    transcribe_api_key_file: Path | None = None
    """File with the API key of TRANSCRIBE_BASE_URL"""
    openai_api_key: SecretStr | None = None
    """API key for transcription if TRANSCRIBE_API_KEY is unset; used for nothing else"""
    transcribe_model: str = Field("whisper-1", min_length=1)
    """Model that transcribes recordings"""
    transcribe_max_bytes: int = Field(25 << 20, ge=1, le=1 << 30)
    """Maximum size of a recording in bytes; at most eight recordings are in memory at once"""

    max_audio_bytes: int = Field(512 << 20, ge=1 << 20, le=8 << 30, validation_alias="AUDIO_MAX_BYTES")
    """Maximum size of a story's audio in bytes; a text that needs more is refused"""

    segment_words: int = Field(60, ge=1, le=200)
    """Target number of words per segment; a narration is resumed only with the same number"""
    segments_ahead: int = Field(3, ge=0, le=32)
    """Segments of an admitted narration that are made ahead of the one that is sent"""
    first_byte_seconds: float | None = Field(None, gt=0, le=600)
    """Timeout in seconds for the first byte of a segment; unset: 30, for a speech server more (docs/voices.md)"""
    segment_seconds: float | None = Field(None, gt=0, le=600)
    """Timeout in seconds for a whole segment; unset: 30, for a speech server more (docs/voices.md)"""
    retries: int = Field(2, ge=0, le=10)
    """Maximum number of retries of a segment with one provider; each call may be billed"""
    retry_longest_wait_seconds: float = Field(10.0, ge=0, le=600, validation_alias="VOICE_RETRY_LONGEST_WAIT")
    """Longest wait before a retry in seconds; if the provider asks for more, the next one is called"""
    concurrency: int | None = Field(None, ge=1, le=4096)
    """Maximum number of concurrent calls to a free provider; the embedded voice gets two per worker process. Unset: 64,
    and 2 to a speech server
    """
    paid_concurrency: int = Field(5, ge=1, le=4096)
    """Maximum number of concurrent calls to a paid provider"""
    requests_per_minute: float | None = Field(None, gt=0, le=1_000_000)
    """Maximum number of calls per minute to a paid provider; unset: no limit"""
    breaker_failures: int = Field(3, ge=1, le=1000)
    """Failures in a row after which the circuit breaker of a provider opens, if half of its parallel calls fail"""
    breaker_seconds: float = Field(30.0, gt=0, le=3600)
    """Seconds from opening a circuit breaker to the first probe, and between probes, which contain no text"""
    slow_seconds: float = Field(10.0, gt=0, le=600)
    """Seconds to the first byte after which a call of a streaming provider counts as slow; if most are, its circuit
    breaker opens
    """

    @field_validator("speech_prices")
    @classmethod
    def _check_prices(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        _prices(given)
        return given

    def contradictions(self) -> Iterator[str]:
        """Yields keys that nothing uses, and providers that are set up and not called."""
        elevenlabs = bool(self.elevenlabs_api_key or self.elevenlabs_api_key_file)
        set_up = {"ELEVENLABS_API_KEY": ("elevenlabs", elevenlabs), "SPEECH_BASE_URL": ("speech", self.speech_base_url)}
        called = {self.default_provider, *self.provider_fallback}
        for variable, (name, is_set) in set_up.items():
            if is_set and self.default_provider and name not in called:
                yield (
                    f"{variable} is set, and neither DEFAULT_VOICE_PROVIDER nor VOICE_PROVIDER_FALLBACK names {name}:"
                    " it speaks only for requests that name it."
                )
        if not self.speech_base_url:
            for field in ("speech_api_key", "speech_api_key_file", "speech_model", "speech_voice"):
                if getattr(self, field):
                    yield f"{field.upper()} is set without SPEECH_BASE_URL, and is not used."
            if self.openai_api_key and not (elevenlabs or self.speech_providers or self.transcribe_base_url):
                yield (
                    "OPENAI_API_KEY is used for transcription alone. For stories set CHAT_BASE_URL and CHAT_API_KEY,"
                    " for voices SPEECH_BASE_URL, SPEECH_API_KEY, SPEECH_MODEL and SPEECH_VOICE."
                )

    @property
    def prices(self) -> Mapping[str, float]:
        """US dollars per thousand characters by "provider" or "provider/model"."""
        return _prices(self.speech_prices)


def _prices(given: tuple[str, ...]) -> dict[str, float]:
    prices = dict[str, float]()
    for each in given:
        name, _, price = each.rpartition("=")
        try:
            prices[name.strip()] = float(price)
        except ValueError:
            prices[""] = 0.0
    if not all(name and math.isfinite(price) and price >= 0 for name, price in prices.items()):
        raise ValueError("must be provider=price or provider/model=price, with commas between; prices are 0 or more")
    return prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What no operator needs to set. Times in seconds."""

    retry_delay: float = 0.5
    """Upper bound of the random wait before the first retry; doubled each time."""
    idle: float = 30.0
    """Timeout between two pieces of a segment."""
    speak: float = 30.0
    """Timeout of a segment of the embedded voice where no setting says another."""
    beat: float = 20.0
    """Time between two warnings of a narration that waits; half of it until the first of one that waits for a place."""
    narration: float = 14_400.0
    """Timeout of one narration."""
    transcription: float = 120.0
    """Timeout of one transcription, from the first byte of the recording to its text."""
    quota_interval: float = 300.0
    """Time between two reads of what the plan of a provider has left."""
    audio_buffer_bytes: int = 32 << 20
    """Estimated bytes of audio of all segments in progress; further segments wait."""
    offline_workers: int = 0
    """Processes of the embedded voice; 0: one per core, at most eight."""
