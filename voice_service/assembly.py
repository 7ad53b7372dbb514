"""Puts segments one after the other: where each stands in the audio, and when its words are heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voice_service.messages import Chunk, SpokenSegment, WordHeard
from voice_service.speakable import speakable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voice_service.intake import TextSegment
    from voice_service.synthesize import Spoken


class Assembly:
    """The audio so far: `size` in bytes, `samples` of the story's rate."""

    def __init__(self, *, word_timings: bool) -> None:
        self._word_timings = word_timings
        self.size = 0
        self.samples = 0

    def skip(self, before: SpokenSegment) -> None:
        """Go past a segment that the caller has."""
        self.size = before.audio_end
        self.samples += before.samples

    def place(self, text: TextSegment, spoken: Spoken) -> SpokenSegment:
        """Put a segment at the end."""
        segment = spoken.segment
        placed = SpokenSegment(
            index=text.index,
            text_start=text.start,
            text_end=text.end,
            audio_start=self.size,
            audio_end=self.size + len(segment.audio),
            provider=segment.provider,
            voice_id=segment.voice_id,
            model_id=segment.model_id,
            sha256=segment.sha256,
            start=self.samples,
            samples=segment.samples,
            cached=spoken.cached,
            words=tuple(self._words(text, spoken)) if self._word_timings else (),
        )
        self.size = placed.audio_end
        self.samples += segment.samples
        return placed

    def chunks(self, placed: SpokenSegment, spoken: Spoken, most: int) -> Iterator[Chunk]:
        """Cut the audio of a placed segment into chunks of at most `most` bytes."""
        audio = spoken.segment.audio
        for begin in range(0, len(audio), most):
            yield Chunk(placed.audio_start + begin, audio[begin : begin + most])

    def _words(self, text: TextSegment, spoken: Spoken) -> Iterator[WordHeard]:
        said = speakable(text.text)
        began = self.samples / spoken.segment.sample_rate
        for word in spoken.segment.words:
            start, end = said.original_span(word.text_start, word.text_end)
            if start < end:
                yield WordHeard(text.start + start, text.start + end, began + word.start, began + word.end)
