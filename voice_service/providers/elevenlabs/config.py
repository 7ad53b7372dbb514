"""Configuration of the ElevenLabs provider."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from voice_service.ports import MP3_44100_128, NativeFormat, VoiceSettings

if TYPE_CHECKING:
    from servicekit.secrets import SecretSource

NAME: Final = "elevenlabs"
BASE_URL: Final = "https://api.elevenlabs.io"
DEFAULT_MODEL: Final = "eleven_multilingual_v2"
RACHEL: Final = "21m00Tcm4TlvDq8ikWAM"
"""The voice that reads what no other voice is chosen for."""

_PCM: Final = {"pcm_16000": 16_000, "pcm_22050": 22_050, "pcm_24000": 24_000, "pcm_44100": 44_100}
FORMATS: Final = (MP3_44100_128.name, *_PCM)
"""Output formats that can be handed on; 44.1 kHz PCM depends on the plan."""


class Endpoint(StrEnum):
    """How speech is asked for. All of them bill the same characters."""

    TIMESTAMPS = "timestamps"
    """A stream of audio with the times of its characters; without times for a request that wants none."""
    STREAM = "stream"
    """A stream of audio alone: a quarter fewer bytes, but no word timings."""
    CONVERT = "convert"
    """The audio as one file, when all of it is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElevenLabsConfig:
    """How to call ElevenLabs.

    `key` is asked for before each call, so it may rotate. `settings` are for requests that leave theirs open.
    `list_cache_seconds` is how long lists of voices and models are good. `connections` bounds the calls at a time.
    `zero_retention` requests that ElevenLabs stores neither text nor audio, which needs an enterprise plan.

    Deadlines, in seconds: `connect_seconds`, `pool_seconds` to get a connection, `read_seconds` between two pieces of
    an answer; `list_seconds` for the whole of a call for voices, models or the subscription. Raises ValueError.
    """

    key: SecretSource
    base_url: str = BASE_URL
    default_model: str = DEFAULT_MODEL
    default_voice: str = RACHEL
    settings: VoiceSettings = field(
        default_factory=lambda: VoiceSettings(stability=0.5, similarity_boost=0.75, style=0.0, use_speaker_boost=True)
    )
    output_format: str = MP3_44100_128.name
    endpoint: Endpoint = Endpoint.TIMESTAMPS
    list_cache_seconds: float = 600.0
    list_seconds: float = 5.0
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    pool_seconds: float = 10.0
    connections: int = 64
    zero_retention: bool = False

    def __post_init__(self) -> None:
        """Refuses what cannot be handed on."""
        if self.output_format not in FORMATS:
            raise ValueError(f"the output format must be one of {', '.join(FORMATS)}")

    @property
    def native_format(self) -> NativeFormat:
        """What the provider hands over."""
        return NativeFormat.PCM_S16LE if self.output_format in _PCM else NativeFormat.MP3_44100_128

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return _PCM.get(self.output_format, MP3_44100_128.sample_rate)

    @property
    def bytes_per_second(self) -> float:
        """Of audio."""
        rate = _PCM.get(self.output_format)
        return MP3_44100_128.bit_rate / 8 if rate is None else 2.0 * rate
