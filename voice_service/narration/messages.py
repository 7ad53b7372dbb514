"""Request and events of a narration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2
from voice_service.ports import MP3_44100_128, StoryFormat, VoiceSettings
from voice_service.synthesis.budget import CallBudget

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceChoice:
    """Requested provider, voice and model; empty names leave the choice to the server."""

    provider: str = ""
    voice_id: str = ""
    model_id: str = ""
    settings: VoiceSettings = field(default_factory=VoiceSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrationRequest:
    """What to narrate, and how.

    `pinned` is the header that the narration started with; `spoken` are the segments that the caller has, in order.
    `stored`: the caller gets no bytes, they are in the segment store of the storage service. `provider_wait`: seconds
    to wait for providers that are down, from one segment to the next. `budget` has the calls of earlier attempts.
    """

    audio_id: str
    story_id: str = ""
    voice: VoiceChoice = field(default_factory=VoiceChoice)
    language_code: str = ""
    story_format: StoryFormat = MP3_44100_128
    title: str = ""
    pinned: VoiceChoice | None = None
    spoken: Sequence[common_pb2.Segment] = ()
    stored: bool = False
    word_timings: bool = False
    strict_language: bool = False
    provider_wait: float = 0.0
    budget: CallBudget = field(default_factory=CallBudget)


Event = (
    common_pb2.NarrationHeader
    | common_pb2.Problem
    | common_pb2.Segment
    | voice_pb2.AudioChunk
    | common_pb2.Attempt
    | voice_pb2.SpeechSummary
)
"""What a narration yields; an attempt is a call to a provider that has ended, a problem one that did not stop it."""


def duration_of(samples: int, sample_rate: int) -> Duration:
    """Returns how long so many samples sound."""
    seconds, rest = divmod(samples, sample_rate)
    return Duration(seconds=seconds, nanos=rest * 1_000_000_000 // sample_rate)


def samples_in(duration: Duration, sample_rate: int) -> int:
    """Returns how many samples sound that long."""
    return round(duration.ToNanoseconds() * sample_rate / 1_000_000_000)
