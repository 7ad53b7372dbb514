"""The knobs of what the voice service calls: ElevenLabs, servers of speech, servers that write down what is said."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr

from servicekit.settings import ServiceSettings
from voice_service.elevenlabs.config import BASE_URL, DEFAULT_MODEL, FORMATS, RACHEL, Endpoint
from voice_service.ports import MP3_44100_128
from voice_service.speech.config import MAX_TEXT_LENGTH, SAMPLE_RATE, SpeechFormat
from voice_service.speech.declared import Languages, VoiceMap


def _known_format(value: str) -> str:
    if value not in FORMATS:
        raise ValueError(f"must be one of {', '.join(FORMATS)}")
    return value


class ProviderSettings(ServiceSettings):
    """Settings of the providers, from the environment."""

    elevenlabs_api_key: SecretStr | None = Field(
        None, validation_alias="ELEVENLABS_API_KEY", description="Key of ElevenLabs; unset: it is not called"
    )
    elevenlabs_api_key_file: Path | None = Field(
        None,
        validation_alias="ELEVENLABS_API_KEY_FILE",
        description="File with the key of ElevenLabs, read again when it changes",
    )
    elevenlabs_base_url: str = Field(
        BASE_URL, validation_alias="ELEVENLABS_BASE_URL", description="Address of ElevenLabs or of what stands for it"
    )
    elevenlabs_model: str = Field(
        DEFAULT_MODEL,
        min_length=1,
        max_length=200,
        validation_alias="ELEVENLABS_MODEL",
        description="Model of ElevenLabs that speaks where none is asked for",
    )
    elevenlabs_voice: str = Field(
        RACHEL,
        min_length=1,
        max_length=200,
        validation_alias="ELEVENLABS_VOICE",
        description="Voice of ElevenLabs that reads what no other voice suits; the default is Rachel",
    )
    elevenlabs_stability: float = Field(
        0.5, ge=0, le=1, validation_alias="ELEVENLABS_STABILITY", description="How even ElevenLabs speaks"
    )
    elevenlabs_similarity_boost: float = Field(
        0.75,
        ge=0,
        le=1,
        validation_alias="ELEVENLABS_SIMILARITY_BOOST",
        description="How close ElevenLabs keeps to the original voice",
    )
    elevenlabs_style: float = Field(
        0.0, ge=0, le=1, validation_alias="ELEVENLABS_STYLE", description="How much ElevenLabs exaggerates the style"
    )
    elevenlabs_speaker_boost: bool = Field(
        default=True,
        validation_alias="ELEVENLABS_SPEAKER_BOOST",
        description="Whether ElevenLabs boosts the likeness further",
    )
    elevenlabs_output_format: Annotated[str, AfterValidator(_known_format)] = Field(
        MP3_44100_128.name,
        validation_alias="ELEVENLABS_OUTPUT_FORMAT",
        description="What ElevenLabs is asked for: mp3_44100_128, or pcm_16000 to pcm_44100 where the plan has it",
    )
    elevenlabs_endpoint: Endpoint = Field(
        Endpoint.TIMESTAMPS,
        validation_alias="ELEVENLABS_ENDPOINT",
        description="How ElevenLabs is asked: timestamps (with word timings), stream or convert",
    )
    elevenlabs_list_cache_seconds: float = Field(
        600.0,
        gt=0,
        le=86_400,
        validation_alias="ELEVENLABS_LIST_CACHE_SECONDS",
        description="Seconds that ElevenLabs' lists of voices and models are good for",
    )
    elevenlabs_quota_seconds: float = Field(
        300.0,
        gt=0,
        le=86_400,
        validation_alias="ELEVENLABS_QUOTA_SECONDS",
        description="Seconds between two questions to ElevenLabs for the characters that the plan has left",
    )
    elevenlabs_zero_retention: bool = Field(
        default=False,
        validation_alias="ELEVENLABS_ZERO_RETENTION",
        description="Ask ElevenLabs to keep neither text nor audio; needs an enterprise plan",
    )
    speech_base_url: str = Field(
        "",
        validation_alias="SPEECH_BASE_URL",
        description="Server with OpenAI's /audio/speech, up to that path, such as http://127.0.0.1:8880/v1",
    )
    speech_api_key: SecretStr | None = Field(
        None, validation_alias="SPEECH_API_KEY", description="Key of that server, where it wants one"
    )
    speech_api_key_file: Path | None = Field(
        None, validation_alias="SPEECH_API_KEY_FILE", description="File with that key, read again when it changes"
    )
    speech_model: str = Field("", max_length=200, validation_alias="SPEECH_MODEL", description="Its model that speaks")
    speech_voice: str = Field(
        "", max_length=200, validation_alias="SPEECH_VOICE", description="Its voice that reads what SPEECH_VOICES lacks"
    )
    speech_voices: VoiceMap = Field(
        default={},
        validation_alias="SPEECH_VOICES",
        description='Its voices by language (JSON): {"en": "af_heart", "es": ["ef_dora", "em_alex"]}',
    )
    speech_format: SpeechFormat = Field(
        "pcm", validation_alias="SPEECH_FORMAT", description="What it is asked for; pcm comes while it is made"
    )
    speech_sample_rate: int = Field(
        SAMPLE_RATE, ge=8_000, le=192_000, validation_alias="SPEECH_SAMPLE_RATE", description="Hz of its pcm"
    )
    speech_languages: Languages = Field(
        (),
        validation_alias="SPEECH_LANGUAGES",
        description="Languages that its model speaks, comma-separated; unset: those of SPEECH_VOICES",
    )
    speech_max_text_length: int = Field(
        MAX_TEXT_LENGTH,
        ge=600,
        le=100_000,
        validation_alias="SPEECH_MAX_TEXT_LENGTH",
        description="Most characters of one of its calls",
    )
    speech_paid: Literal["auto", "yes", "no"] = Field(
        "auto", validation_alias="SPEECH_PAID", description="Whether its calls are billed; auto: where it has a key"
    )
    speech_extra: dict[str, Any] = Field(
        default={}, validation_alias="SPEECH_EXTRA", description="More fields of the body of its requests (JSON)"
    )
    speech_providers: str = Field(
        "", validation_alias="SPEECH_PROVIDERS", description="More such servers (JSON list), see docs/voices.md"
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
    upstream_allow_plain_http: bool = Field(
        default=False,
        validation_alias="UPSTREAM_ALLOW_PLAIN_HTTP",
        description="Call providers without TLS beyond this machine; only where the network is trusted",
    )
