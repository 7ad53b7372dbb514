"""Request, events and segments of a narration, independent of the wire.

Text positions are code points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voice_service.ports import MP3_44100_128, StoryFormat, VoiceSettings
from voice_service.synthesis.store import NO_WORDS, Words

if TYPE_CHECKING:
    from voice_service.synthesis.call import CallRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceChoice:
    """Requested provider, voice and model; empty names leave the choice to the server."""

    provider: str = ""
    voice_id: str = ""
    model_id: str = ""
    settings: VoiceSettings = field(default_factory=VoiceSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenSegment:
    """A segment of the narration. Audio positions are bytes; `start` and `samples` count samples of `sample_rate`.

    `words` are code points of the content (of the title in its segment), and microseconds of the audio.
    """

    index: int
    text_start: int
    text_end: int
    audio_start: int
    audio_end: int
    key: str
    provider: str
    voice_id: str
    model_id: str
    sha256: bytes
    start: int
    samples: int
    sample_rate: int
    cached: bool = False
    words: Words = NO_WORDS


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrationRequest:
    """What to narrate, and how.

    `pinned` is the header that the narration started with; `spoken` are the segments that the caller has, in order.
    `stored`: the caller gets no bytes, they are in the segment store of the storage service. `provider_wait`: seconds
    to wait for providers that are down, in all.
    """

    audio_id: str
    story_id: str = ""
    voice: VoiceChoice = field(default_factory=VoiceChoice)
    language_code: str = ""
    story_format: StoryFormat = MP3_44100_128
    title: str = ""
    pinned: VoiceChoice | None = None
    spoken: tuple[SpokenSegment, ...] = ()
    stored: bool = False
    word_timings: bool = False
    strict_language: bool = False
    provider_wait: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Provider, voice, settings and format of the narration."""

    audio_id: str
    provider: str
    voice_id: str
    model_id: str
    settings: VoiceSettings
    language_code: str
    story_format: StoryFormat
    embedded: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of audio; `offset` counts all bytes before."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CallMade:
    """A call to a provider for that segment has ended."""

    segment_index: int
    record: CallRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """A problem that did not stop the narration."""

    reason: str
    message: str
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The narration is complete. `samples` of `sample_rate`, the story's."""

    audio_id: str
    size: int
    samples: int
    sample_rate: int
    segments: int
    cached_segments: int
    characters: int
    embedded: bool
    providers: dict[str, int]
    """Segments by provider."""


Event = Header | SpokenSegment | Chunk | CallMade | Warned | Summary
