"""Request, events and segments of a narration.

Text positions are code points.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration

from tale.common.v1 import common_pb2
from tale.storage.v1.segment_pb2 import SegmentWords
from tale.voice.v1 import voice_pb2
from voice_service.ports import MP3_44100_128, StoryFormat, VoiceSettings


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
    words: SegmentWords = field(default_factory=SegmentWords)


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


Event = (
    common_pb2.NarrationHeader
    | common_pb2.Problem
    | SpokenSegment
    | voice_pb2.AudioChunk
    | common_pb2.Attempt
    | voice_pb2.SpeechSummary
)
"""What a narration yields; an attempt is a call to a provider that has ended, a problem one that did not stop it."""


def duration_of(samples: int, sample_rate: int) -> Duration:
    """Returns how long so many samples sound."""
    seconds, rest = divmod(samples, sample_rate)
    return Duration(seconds=seconds, nanos=rest * 1_000_000_000 // sample_rate)
