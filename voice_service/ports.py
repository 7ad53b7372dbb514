"""The port of voice providers, and the formats of a story's audio."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, runtime_checkable

from servicekit.resilience.errors import ProviderError, Treatment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

_UNKNOWN: Final = frozenset({400, 404, 422})


class Codec(StrEnum):
    """How the sound of a story is coded."""

    MP3 = "mp3"
    WAV = "wav"
    OPUS = "opus"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryFormat:
    """A format of a story's audio.

    `sample_rate` in Hz, `bit_rate` in bits per second, 0 where it varies; `bytes_per_second` about what a second takes.
    `name` is part of the key of every stored segment.
    """

    name: str
    codec: Codec
    content_type: str
    sample_rate: int
    channels: int
    bit_rate: int
    bytes_per_second: int


MP3_44100_128: Final = StoryFormat(
    name="mp3_44100_128",
    codec=Codec.MP3,
    content_type="audio/mpeg",
    sample_rate=44_100,
    channels=1,
    bit_rate=128_000,
    bytes_per_second=16_000,
)
"""The default of every story."""
WAV_44100: Final = StoryFormat(
    name="wav_44100",
    codec=Codec.WAV,
    content_type="audio/wav",
    sample_rate=44_100,
    channels=1,
    bit_rate=705_600,
    bytes_per_second=88_200,
)
"""16-bit PCM in WAV."""
OGG_OPUS_48000: Final = StoryFormat(
    name="ogg_opus_48000",
    codec=Codec.OPUS,
    content_type="audio/ogg",
    sample_rate=48_000,
    channels=1,
    bit_rate=0,
    bytes_per_second=8_000,
)
"""Opus in Ogg, about 60 kbit/s."""


class NativeFormat(StrEnum):
    """What a provider hands over. Files (MP3, WAVE, FLAC, Ogg) are known by their bytes, whatever this says."""

    MP3_44100_128 = "mp3_44100_128"
    """MPEG-1 Layer III at 44.1 kHz and 128 kbit/s, which passes frame by frame into such a story."""
    MP3 = "mp3"
    """Layer III of any rate and number of channels; decoded and encoded again."""
    PCM_S16LE = "pcm_s16le"
    """Bytes that are no file are signed 16-bit samples at `ProviderMetadata.sample_rate`, one channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceSettings:
    """How a voice should speak; None leaves it to the provider.

    `stability`, `similarity_boost` and `style` run from 0 to 1; `speed` is a factor, 1.0 being the voice's own pace.
    """

    stability: float | None = None
    similarity_boost: float | None = None
    style: float | None = None
    use_speaker_boost: bool | None = None
    speed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRequest:
    """One segment to speak.

    `language_code` is BCP-47. Empty `voice_id` and `model_id` mean the provider's default for the language.
    `previous_text` is what was spoken before, empty for providers that do not take it. `pause` is the silence in
    seconds that the service adds after the sound: no provider has to care for it.
    """

    text: str
    language_code: str
    voice_id: str = ""
    model_id: str = ""
    settings: VoiceSettings = field(default_factory=VoiceSettings)
    previous_text: str = ""
    with_timings: bool = False
    pause: float = 0.0


class WordTiming(NamedTuple):
    """When a word sounds: code points [text_start, text_end) of the request's text, seconds from its start."""

    text_start: int
    text_end: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """Some bytes of the segment, in the provider's native format; cut anywhere.

    Empty where audio has arrived that cannot be handed over yet, so that the idle timeout starts again.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class Timings:
    """Words of the segment, in order and without overlap."""

    words: tuple[WordTiming, ...]


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What the provider reports of its call: its id, the billed characters, and the Content-Type of the audio.

    Empty and None where it does not say. Comes at any place of the stream, once or more often; the last one counts.
    Of the Content-Type rate and channels of raw samples are read; what the audio is its bytes decide. `levelled`: it
    has the loudness that `voice_service.audio.loudness` brings other voices to.
    """

    request_id: str = ""
    characters_billed: int | None = None
    content_type: str = ""
    levelled: bool = False


SpeechItem = AudioChunk | Timings | CallFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderMetadata:
    """What a provider is and can do.

    `max_text_length` in code points; `sample_rate` in Hz; `languages` as BCP-47 codes ("en", "pt-BR"), a bare
    language standing for its regions too. `formats` are what it can be asked for in its own naming, for callers to
    see; empty: the native format alone. `local`: it is a server in the own network. `queues`: it may be one machine,
    which loads its model when it is first called, answers call after call and speaks more slowly than a person.
    `concurrency` are the calls that it answers at once, 0 where nothing says so. `languages_assumed`: what it reads is
    not known for certain.
    """

    name: str
    display_name: str
    supports_streaming: bool
    native_format: NativeFormat
    sample_rate: int
    max_text_length: int
    languages: tuple[str, ...]
    paid: bool
    takes_previous_text: bool
    default_voice: str
    default_model: str
    formats: tuple[str, ...] = ()
    languages_assumed: bool = False
    local: bool = False
    queues: bool = False
    concurrency: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceInfo:
    """A voice of a provider. `gender` is "female", "male" or empty; `preview_url` is the address of a sample."""

    voice_id: str
    display_name: str
    language_codes: tuple[str, ...]
    gender: str = ""
    description: str = ""
    preview_url: str = ""


class VoiceRefusedError(ProviderError):
    """A provider does not know a voice, or the account may not use it: another one of its voices may speak."""

    @property
    def treatment(self) -> Treatment:
        """VOICE_NOT_FOUND for one that it does not know."""
        known = super().treatment
        return replace(known, reason="VOICE_NOT_FOUND") if self.status in _UNKNOWN else known


class VoiceProvider(Protocol):
    """Turns the text of one segment into sound."""

    @property
    def metadata(self) -> ProviderMetadata:
        """What this provider is; costs nothing to ask."""

    async def validate_configuration(self) -> str:
        """Returns what is missing and how to fix it, or "" when the provider can be called."""

    def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        """Speaks `request`: chunks of audio as they come, and timings where asked for and known.

        The end of the stream means that the provider said it was done, not that the sound is whole: see
        `voice_service.audio.verify`. Close the generator (`contextlib.aclosing`) when it is left early.
        Raises ProviderError.
        """

    async def list_voices(self, language_code: str | None = None) -> Sequence[VoiceInfo]:
        """Lists the voices, all or those of one language (BCP-47), the best first. Raises ProviderError.

        The first one reads a text in that language where no voice is asked for; where there is none, the default does.
        """

    async def knows_voice(self, voice_id: str, language_code: str) -> bool:
        """Returns whether the voice can be asked for to read that language (BCP-47), listed or not.

        Raises ProviderError.
        """

    async def aclose(self) -> None:
        """Closes connections and processes. The provider is not used after it."""


@runtime_checkable
class Configurable(Protocol):
    """A provider that may be there though nothing is set for it; one that does not say so counts as set."""

    @property
    def is_set(self) -> bool:
        """Whether anything is set for it, even if wrong or refused: then no unnamed provider replaces it."""


@runtime_checkable
class Selective(Protocol):
    """A provider each of whose voices reads some scripts; another one reads those of all its languages."""

    def scripts(self, voice_id: str, language_code: str) -> frozenset[str]:
        """Returns the scripts that the voice reads in a text of that language, as `servicekit.languages` names them.

        Without `voice_id`, of the voice that would read it.
        """


@runtime_checkable
class Probing(Protocol):
    """A provider with a cheap probe; another one is probed with one short word."""

    async def probe(self) -> None:
        """Makes a call that costs nothing and carries no text, such as listing models.

        Called once a window while the provider's circuit is open. Raises ProviderError while it fails.
        """


@runtime_checkable
class Reducible(Protocol):
    """A provider that reads on with less than all of its parts."""

    async def reduced(self) -> str:
        """Returns a sentence that says what is missing and what that means; "" where nothing is."""


@runtime_checkable
class Metered(Protocol):
    """A provider whose account has so many characters."""

    async def remaining_characters(self) -> int | None:
        """Returns the characters that the account has left; None where there is no limit. Raises ProviderError."""


@runtime_checkable
class Remembering(Protocol):
    """A provider that uses its last list of voices while it cannot fetch a new one."""

    @property
    def voices_are_stale(self) -> bool:
        """Whether the voices could not be asked for when it was time."""


@runtime_checkable
class Continuing(Protocol):
    """A provider some of whose models take the text before, and some do not."""

    def takes_previous_text(self, model_id: str) -> bool:
        """Returns whether the model may be given the text before."""
