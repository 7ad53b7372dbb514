"""Puts segments one after the other: where each stands in the audio, and when its words are heard."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voice_service.audio.container import container_of
from voice_service.messages import Chunk, SpokenSegment, WordHeard
from voice_service.speakable import speakable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voice_service.intake import TextSegment
    from voice_service.ports import StoryFormat
    from voice_service.synthesize import Spoken


@dataclass(frozen=True, slots=True)
class Placed:
    """A segment at its place, with the bytes of the file that hold it."""

    segment: SpokenSegment
    audio: bytes

    def chunks(self, most: int) -> Iterator[Chunk]:
        """Cut the audio into chunks of at most `most` bytes."""
        for begin in range(0, len(self.audio), most):
            yield Chunk(self.segment.audio_start + begin, self.audio[begin : begin + most])


class Assembly:
    """The audio so far: `size` in bytes, `samples` of `sample_rate`, the story's."""

    def __init__(self, story_format: StoryFormat, *, word_timings: bool) -> None:
        self._container = container_of(story_format)
        self._word_timings = word_timings
        self.sample_rate = story_format.sample_rate
        self.size = 0
        self.samples = 0

    def skip(self, before: SpokenSegment) -> None:
        """Go past a segment that the caller has."""
        self._container.skip(before.samples)
        self.size = before.audio_end
        self.samples += before.samples

    def place(self, text: TextSegment, spoken: Spoken) -> Placed:
        """Put a segment at the end."""
        segment = spoken.segment
        audio = self._container.lay(segment.audio, segment.samples, last=text.last)
        placed = SpokenSegment(
            index=text.index,
            text_start=text.start,
            text_end=text.end,
            audio_start=self.size,
            audio_end=self.size + len(audio),
            provider=segment.provider,
            voice_id=segment.voice_id,
            model_id=segment.model_id,
            # Frames of MP3 go out as they are kept, and need no second look.
            sha256=segment.sha256 if audio is segment.audio else hashlib.sha256(audio).digest(),
            start=self.samples,
            samples=segment.samples,
            sample_rate=self.sample_rate,
            cached=spoken.cached,
            words=tuple(self._words(text, spoken)) if self._word_timings else (),
        )
        self.size = placed.audio_end
        self.samples += segment.samples
        return Placed(placed, audio)

    def _words(self, text: TextSegment, spoken: Spoken) -> Iterator[WordHeard]:
        said = speakable(text.text)
        began = self.samples / spoken.segment.sample_rate
        for word in spoken.segment.words:
            start, end = said.original_span(word.text_start, word.text_end)
            if start < end:
                yield WordHeard(text.start + start, text.start + end, began + word.start, began + word.end)
