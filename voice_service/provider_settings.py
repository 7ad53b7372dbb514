"""The knobs of what the voice service calls: ElevenLabs, servers of speech, servers that write down what is said."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr

from servicekit.settings import ServiceSettings, variables
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
