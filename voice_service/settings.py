"""Every knob of the voice service."""

from pathlib import Path

from pydantic import Field, SecretStr

from servicekit.settings import CommaList, Listen, ServiceSettings
from voice_service.mock.script import MockScript


class VoiceServiceSettings(ServiceSettings):
    """Settings of the voice service, from the environment."""

    listen: Listen = Field("127.0.0.1:50053", validation_alias="VOICE_LISTEN", description="gRPC bind address")
    ops_listen: Listen = Field(
        "127.0.0.1:9053", validation_alias="VOICE_OPS_LISTEN", description="HTTP bind address for operators"
    )
    default_provider: str = Field(
        "elevenlabs",
        min_length=1,
        validation_alias="DEFAULT_VOICE_PROVIDER",
        description="Voice provider that is tried first: elevenlabs, speech, offline or mock",
    )
    provider_fallback: CommaList = Field(
        (),
        validation_alias="VOICE_PROVIDER_FALLBACK",
        description="Voice providers that are tried in turn when the first can not speak; `offline` only when named",
    )
    elevenlabs_api_key: SecretStr | None = Field(
        None,
        validation_alias="ELEVENLABS_API_KEY",
        description="Key of ElevenLabs; this version does not call it yet, and warns where it is set",
    )
    speech_base_url: str = Field(
        "",
        validation_alias="SPEECH_BASE_URL",
        description="Server with OpenAI's /audio/speech; this version does not call it yet, and warns where it is set",
    )
    transcribe_base_url: str = Field(
        "",
        validation_alias="TRANSCRIBE_BASE_URL",
        description="Server with OpenAI's /audio/transcriptions, such as http://127.0.0.1:8000/v1; unset: OpenAI's own",
    )
    transcribe_api_key: SecretStr | None = Field(
        None,
        validation_alias="TRANSCRIBE_API_KEY",
        description="Key of TRANSCRIBE_BASE_URL; unset: OPENAI_API_KEY",
    )
    transcribe_api_key_file: Path | None = Field(
        None, validation_alias="TRANSCRIBE_API_KEY_FILE", description="File with that key; read again when it changes"
    )
    openai_api_key: SecretStr | None = Field(
        None,
        validation_alias="OPENAI_API_KEY",
        description="Key for writing down recordings where TRANSCRIBE_API_KEY is unset; used for nothing else",
    )
    openai_api_key_file: Path | None = Field(
        None, validation_alias="OPENAI_API_KEY_FILE", description="File with that key; read again when it changes"
    )
    transcribe_model: str = Field(
        "whisper-1",
        min_length=1,
        validation_alias="TRANSCRIBE_MODEL",
        description="Model that writes down recordings",
    )
    transcribe_max_bytes: int = Field(
        25 << 20,
        ge=1,
        le=1 << 30,
        validation_alias="TRANSCRIBE_MAX_BYTES",
        description="Most bytes of a recording; eight are held in memory at most",
    )
    transcribe_seconds: float = Field(
        120.0,
        gt=0,
        le=3600,
        validation_alias="TRANSCRIBE_SECONDS",
        description="Seconds from the first byte of a recording to its text, upload and retries included",
    )
    mock_script: MockScript | None = Field(
        None,
        validation_alias="VOICE_MOCK_SCRIPT",
        description="Latency and faults of the mock provider (JSON), for demonstrations and tests",
    )
    cache_url: str = Field(
        "",
        validation_alias="VOICE_CACHE_URL",
        description="Where verified segments are kept: file:///path or memory://; unset: voice-cache in TALE_DATA_DIR",
    )
    cache_max_bytes: int = Field(
        1 << 30,
        ge=0,
        validation_alias="VOICE_CACHE_MAX_BYTES",
        description="Most bytes of the voice cache; the longest unused segments go first",
    )
    segment_words: int = Field(
        60,
        ge=1,
        le=200,
        validation_alias="VOICE_SEGMENT_WORDS",
        description="Words that a segment aims at; a narration under way is resumed only with the same number",
    )
    segments_ahead: int = Field(
        3,
        ge=0,
        le=32,
        validation_alias="VOICE_SEGMENTS_AHEAD",
        description="Segments of a narration that are made ahead of the one that goes out",
    )
    first_byte_seconds: float = Field(
        30.0,
        gt=0,
        le=600,
        validation_alias="VOICE_FIRST_BYTE_SECONDS",
        description="Seconds until a provider must send the first byte of a segment",
    )
    idle_seconds: float = Field(
        30.0,
        gt=0,
        le=600,
        validation_alias="VOICE_IDLE_SECONDS",
        description="Seconds that a provider may pause within a segment",
    )
    segment_seconds: float = Field(
        30.0,
        gt=0,
        le=600,
        validation_alias="VOICE_SEGMENT_SECONDS",
        description="Seconds that one call to a provider may take in all",
    )
    retries: int = Field(
        2,
        ge=0,
        le=10,
        validation_alias="VOICE_RETRIES",
        description="Most calls for a segment after the first to the same provider; each may bill",
    )
    retry_delay_seconds: float = Field(
        0.5,
        ge=0,
        le=60,
        validation_alias="VOICE_RETRY_DELAY",
        description="Seconds that the wait before the first retry is drawn from; doubled each time",
    )
    retry_longest_wait_seconds: float = Field(
        10.0,
        ge=0,
        le=600,
        validation_alias="VOICE_RETRY_LONGEST_WAIT",
        description="Longest wait before a retry; a provider that asks for more is passed over",
    )
    concurrency: int = Field(
        64,
        ge=1,
        le=4096,
        validation_alias="VOICE_CONCURRENCY",
        description="Calls at once to a provider that does not bill; the embedded voice gets two for each worker",
    )
    paid_concurrency: int = Field(
        5,
        ge=1,
        le=4096,
        validation_alias="VOICE_PAID_CONCURRENCY",
        description="Calls at once to a provider that bills",
    )
    offline_workers: int = Field(
        0,
        ge=0,
        le=64,
        validation_alias="VOICE_OFFLINE_WORKERS",
        description="Processes of the embedded voice; 0: one for each core, at most eight",
    )
    narration_seconds: float = Field(
        3600.0,
        gt=0,
        le=86_400,
        validation_alias="VOICE_NARRATION_SECONDS",
        description="Seconds that one narration may take",
    )
