"""Puts segments one after the other: where each is in the audio, and when its words are heard."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from voice_service.audio.container import container_of
from voice_service.audio.opus import HEADER_PAGES, page_count
from voice_service.messages import Chunk, SpokenSegment
from voice_service.ports import Codec
from voice_service.segments.ports import NO_WORDS, SegmentMissingError, Words, store_unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voice_service.intake import TextSegment
    from voice_service.messages import NarrationRequest
    from voice_service.segments.ports import SegmentStore, StoredSegment
    from voice_service.spoken import Spoken


@dataclass(frozen=True, slots=True)
class Placed:
    """A segment at its place, with the bytes of the file that hold it, where the caller is to get them."""

    segment: SpokenSegment
    audio: bytes

    def chunks(self, most: int) -> Iterator[Chunk]:
        """Cuts the audio into chunks of at most `most` bytes."""
        for begin in range(0, len(self.audio), most):
            yield Chunk(self.segment.audio_start + begin, self.audio[begin : begin + most])


class Assembly:
    """The audio so far: `size` in bytes, `samples` of `sample_rate`, the story's.

    Where the bytes depend on the place in the file (pages of Ogg, the header of WAV), those of the place are stored as
    a segment of their own, so that a file is its segments one after the other.
    """

    def __init__(self, request: NarrationRequest, store: SegmentStore, *, deadline: float | None = None) -> None:
        self._container = container_of(request.story_format)
        self._codec = request.story_format.codec
        self._store = store
        self._request = request
        self._deadline = deadline
        self._pages = HEADER_PAGES
        self.sample_rate = request.story_format.sample_rate
        self.size = 0
        self.samples = 0

    def resume(self, before: SpokenSegment) -> None:
        """Goes behind a segment that the caller has."""
        self._container.skip(before.samples)
        self._go_on(before.audio_end, before.samples)

    async def place(self, text: TextSegment, spoken: Spoken) -> Placed:
        """Puts a segment at the end. Raises DomainError."""
        segment, audio = spoken.segment, spoken.audio
        place = self._place(last=text.last)
        if place:
            segment, audio = await self._placed(segment, audio, place, last=text.last)
        placed = SpokenSegment(
            index=text.index,
            text_start=text.start,
            text_end=text.end,
            audio_start=self.size,
            audio_end=self.size + segment.size,
            key=segment.key,
            provider=segment.provider,
            voice_id=segment.voice_id,
            model_id=segment.model_id,
            sha256=segment.sha256,
            start=self.samples,
            samples=segment.samples,
            sample_rate=self.sample_rate,
            cached=spoken.cached,
            words=self._words(text, segment.words) if self._request.word_timings else NO_WORDS,
        )
        self._go_on(placed.audio_end, segment.samples)
        return Placed(placed, b"" if audio is None or self._request.stored else audio)

    def _go_on(self, size: int, samples: int) -> None:
        self.size = size
        self.samples += samples
        self._pages += page_count(samples)

    def _place(self, *, last: bool) -> str:
        """Names what the bytes of the next segment depend on beside the segment; "" where that is nothing."""
        match self._codec:
            case Codec.MP3:
                return ""
            case Codec.WAV:
                return "" if self.size else "header"
            case Codec.OPUS:
                return f"page {self._pages} sample {self.samples}{' last' if last else ''}"

    async def _placed(
        self, segment: StoredSegment, audio: bytes | None, place: str, *, last: bool
    ) -> tuple[StoredSegment, bytes | None]:
        # The bytes too: a segment that was lost and made again has its key, but not its sound.
        key = hashlib.sha256(f"{segment.key} {segment.sha256.hex()} {place}".encode()).hexdigest()
        story_id = self._request.story_id
        if audio is None:
            found = (await self._store.find([key], story_id)).get(key)
            if found is not None:
                self._container.skip(segment.samples)
                return found, None
            try:
                audio = await self._store.read(segment.key)
            except SegmentMissingError as error:
                raise store_unavailable("The segment store has lost a segment.") from error
        laid = self._container.lay(audio, segment.samples, last=last)
        made = replace(segment, key=key, size=len(laid), sha256=hashlib.sha256(laid).digest())
        return await self._store.put(made, laid, story_id, deadline=self._deadline), laid

    def _words(self, text: TextSegment, words: Words) -> Words:
        """Returns the words by their place in the content and in the audio."""
        began = self.samples * 1_000_000 // self.sample_rate
        starts: list[int] = []
        ends: list[int] = []
        heard: list[int] = []
        over: list[int] = []
        for text_start, text_end, start, end in zip(
            words.text_starts, words.text_ends, words.starts_us, words.ends_us, strict=True
        ):
            first, beyond = text.spoken.original_span(text_start, text_end)
            if first < beyond:
                starts.append(text.start + first)
                ends.append(text.start + beyond)
                heard.append(began + start)
                over.append(began + end)
        return Words(starts, ends, heard, over)
