"""Every knob of the voice service."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr

from servicekit.settings import CommaList, Listen, ServiceSettings, variables
from voice_service.ports import MP3_44100_128
from voice_service.providers.elevenlabs.config import BASE_URL, DEFAULT_MODEL, FORMATS, RACHEL, Endpoint
from voice_service.providers.mock.script import MockScript
from voice_service.providers.speech.config import Languages, VoiceMap
from voice_service.providers.speech.voices import MAX_TEXT_LENGTH, SAMPLE_RATE, SpeechFormat


def _known_format(value: str) -> str:
    if value not in FORMATS:
        raise ValueError(f"must be one of {', '.join(FORMATS)}")
    return value


class ProviderSettings(ServiceSettings):
    """Settings of the providers, from the environment."""

    model_config = variables("VOICE_", "elevenlabs_", "openai_", "speech_", "storage_", "transcribe_", "upstream_")

    elevenlabs_api_key: SecretStr | None = None
    """Key of ElevenLabs; unset: it is not called"""
    elevenlabs_api_key_file: Path | None = None
    """File with the key of ElevenLabs, read again when it changes"""
    elevenlabs_base_url: str = BASE_URL
    """Address of ElevenLabs or of what stands for it"""
    elevenlabs_model: str = Field(DEFAULT_MODEL, min_length=1, max_length=200)
    """Model of ElevenLabs that speaks where none is asked for"""
    elevenlabs_voice: str = Field(RACHEL, min_length=1, max_length=200)
    """Voice of ElevenLabs that reads what no other voice suits; the default is Rachel"""
    elevenlabs_stability: float = Field(0.5, ge=0, le=1)
    """How even ElevenLabs speaks"""
    elevenlabs_similarity_boost: float = Field(0.75, ge=0, le=1)
    """How close ElevenLabs keeps to the original voice"""
    elevenlabs_style: float = Field(0.0, ge=0, le=1)
    """How much ElevenLabs exaggerates the style"""
    elevenlabs_speaker_boost: bool = True
    """Whether ElevenLabs boosts the likeness further"""
    elevenlabs_output_format: Annotated[str, AfterValidator(_known_format)] = MP3_44100_128.name
    """What ElevenLabs is asked for: mp3_44100_128, or pcm_16000 to pcm_44100 where the plan has it"""
    elevenlabs_endpoint: Endpoint = Endpoint.TIMESTAMPS
    """How ElevenLabs is asked: timestamps (with word timings), stream or convert"""
    elevenlabs_list_cache_seconds: float = Field(600.0, gt=0, le=86_400)
    """Seconds that ElevenLabs' lists of voices and models are good for"""
    elevenlabs_quota_seconds: float = Field(300.0, gt=0, le=86_400)
    """Seconds between two questions to ElevenLabs for the characters that the plan has left"""
    elevenlabs_zero_retention: bool = False
    """Ask ElevenLabs to keep neither text nor audio; needs an enterprise plan"""
    speech_base_url: str = ""
    """Server with OpenAI's /audio/speech, up to that path, such as http://127.0.0.1:8880/v1"""
    speech_api_key: SecretStr | None = None
    """Key of that server, where it wants one"""
    speech_api_key_file: Path | None = None
    """File with that key, read again when it changes"""
    speech_model: str = Field("", max_length=200)
    """Its model that speaks"""
    speech_voice: str = Field("", max_length=200)
    """Its voice that reads what SPEECH_VOICES lacks"""
    speech_voices: VoiceMap = Field({})
    """Its voices by language (JSON): {"en": "af_heart", "es": ["ef_dora", "em_alex"]}"""
    speech_format: SpeechFormat = "pcm"
    """What it is asked for; pcm comes while it is made"""
    speech_sample_rate: int = Field(SAMPLE_RATE, ge=8_000, le=192_000)
    """Hz of its pcm"""
    speech_languages: Languages = Field(())
    """Languages that its model speaks, comma-separated; unset: those of SPEECH_VOICES"""
    speech_max_text_length: int = Field(MAX_TEXT_LENGTH, ge=600, le=100_000)
    """Most characters of one of its calls"""
    speech_paid: Literal["auto", "yes", "no"] = "auto"
    """Whether its calls are billed; auto: where it has a key"""
    speech_extra: dict[str, Any] = Field({})
    """More fields of the body of its requests (JSON)"""
    speech_providers: str = ""
    """More such servers (JSON list), see docs/voices.md"""
    transcribe_base_url: str = ""
    """Server with OpenAI's /audio/transcriptions, such as http://127.0.0.1:8000/v1; unset: OpenAI's own"""
    transcribe_api_key: SecretStr | None = None
    """Key of TRANSCRIBE_BASE_URL; unset: OPENAI_API_KEY"""
    transcribe_api_key_file: Path | None = None
    """File with that key; read again when it changes"""
    openai_api_key: SecretStr | None = None
    """Key for writing down recordings where TRANSCRIBE_API_KEY is unset; used for nothing else"""
    openai_api_key_file: Path | None = None
    """File with that key; read again when it changes"""
    transcribe_model: str = Field("whisper-1", min_length=1)
    """Model that writes down recordings"""
    transcribe_max_bytes: int = Field(25 << 20, ge=1, le=1 << 30)
    """Most bytes of a recording; eight are held in memory at most"""
    transcribe_seconds: float = Field(120.0, gt=0, le=3600)
    """Seconds from the first byte of a recording to its text, upload and retries included"""
    upstream_allow_plain_http: bool = False
    """Call providers without TLS beyond this machine; only where the network is trusted"""


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
