"""Puts segments one after the other: where each is in the audio, and when its words are heard."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tale.common.v1 import common_pb2
from tale.storage.v1.segment_pb2 import SegmentWords, StoredSegment
from tale.voice.v1 import voice_pb2
from voice_service.audio.container import Position, lay_out
from voice_service.narration.messages import duration_of, samples_in
from voice_service.providers.registry import EMBEDDED
from voice_service.synthesis.store import SegmentMissingError, store_unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.duration_pb2 import Duration

    from voice_service.narration.intake import TextSegment
    from voice_service.narration.messages import NarrationRequest
    from voice_service.synthesis.store import SegmentStore
    from voice_service.synthesis.synthesize import Spoken


@dataclass(frozen=True, slots=True)
class Placed:
    """A segment at its place, with the bytes of the file that hold it, where the caller is to get them."""

    segment: common_pb2.Segment
    audio: bytes

    def chunks(self, most: int) -> Iterator[voice_pb2.AudioChunk]:
        """Cuts the audio into chunks of at most `most` bytes."""
        for begin in range(0, len(self.audio), most):
            data = self.audio[begin : begin + most]
            yield voice_pb2.AudioChunk(offset=self.segment.audio.start + begin, data=data)


class Assembly:
    """The narration so far: its segments one after the other, and what was called for them.

    Where the bytes depend on the place in the file (pages of Ogg, the header of WAV), those of the place are stored as
    a segment of their own, so that a file is its segments one after the other.
    """

    def __init__(self, request: NarrationRequest, store: SegmentStore, *, deadline: float | None = None) -> None:
        self._store = store
        self._request = request
        self._format = request.story_format
        self._deadline = deadline
        self._end = Position()
        self._providers: Counter[str] = Counter()
        self._cached = 0
        self._characters = 0

    @property
    def size(self) -> int:
        """Bytes of the audio so far."""
        return self._end.size

    def resume(self, before: common_pb2.Segment) -> None:
        """Moves past a segment that the caller has."""
        self._go_on(before, samples_in(before.duration, self._format.sample_rate), cached=True)

    def called(self, call: common_pb2.Attempt) -> common_pb2.Attempt:
        """Counts the characters of a call, and returns it."""
        self._characters += call.characters
        return call

    async def place(self, text: TextSegment, spoken: Spoken) -> Placed:
        """Puts a segment at the end. Raises DomainError."""
        segment, audio = spoken.segment, spoken.audio
        if place := self._end.dependence(self._format.codec, last=text.last):
            segment, audio = await self._placed(segment, audio, place, last=text.last)
        rate = self._format.sample_rate
        placed = common_pb2.Segment(
            index=text.index,
            text=common_pb2.Span(start=text.start, end=text.end),
            audio=common_pb2.Span(start=self._end.size, end=self._end.size + segment.size_bytes),
            provider=segment.provider,
            voice_id=segment.voice_id,
            model_id=segment.model_id,
            sha256=segment.sha256,
            duration=duration_of(segment.sample_count, rate),
            start=duration_of(self._end.samples, rate),
            cached=spoken.cached,
            key=segment.key,
            embedded=segment.provider == EMBEDDED,
        )
        if self._request.word_timings:
            self._add_words(placed, text, segment.words)
        self._go_on(placed, segment.sample_count, cached=spoken.cached)
        return Placed(placed, b"" if audio is None or self._request.stored else audio)

    def summary(self) -> voice_pb2.SpeechSummary:
        """Returns the summary, once all segments are placed."""
        summary = voice_pb2.SpeechSummary(
            audio_id=self._request.audio_id,
            size_bytes=self._end.size,
            duration=duration_of(self._end.samples, self._format.sample_rate),
            segment_count=self._providers.total(),
            cached_segment_count=self._cached,
            characters=self._characters,
            embedded=EMBEDDED in self._providers,
        )
        summary.metadata.update({"segments_by_provider": dict(sorted(self._providers.items()))})
        return summary

    def _go_on(self, segment: common_pb2.Segment, samples: int, *, cached: bool) -> None:
        self._end.go_on(segment.audio.end, samples)
        self._providers[segment.provider] += 1
        self._cached += cached

    async def _placed(
        self, segment: StoredSegment, audio: bytes | None, place: str, *, last: bool
    ) -> tuple[StoredSegment, bytes | None]:
        # The bytes too: a segment that was lost and made again has its key, but not its sound.
        key = hashlib.sha256(f"{segment.key} {segment.sha256.hex()} {place}".encode()).hexdigest()
        story_id = self._request.story_id
        if audio is None:
            found = (await self._store.find([key], story_id)).get(key)
            if found is not None:
                return found, None
            try:
                audio = await self._store.read(segment.key)
            except SegmentMissingError as error:
                raise store_unavailable("The segment store has lost a segment.") from error
        laid = lay_out(audio, self._format, self._end, last=last)
        made = StoredSegment()
        made.CopyFrom(segment)
        made.key, made.size_bytes, made.sha256 = key, len(laid), hashlib.sha256(laid).digest()
        return await self._store.put(made, laid, story_id, deadline=self._deadline), laid

    def _add_words(self, placed: common_pb2.Segment, text: TextSegment, words: SegmentWords) -> None:
        """Adds the words by their place in the content and in the audio."""
        began = self._end.samples * 1_000_000 // self._format.sample_rate
        for text_start, text_end, start, end in zip(
            words.text_starts, words.text_ends, words.start_us, words.end_us, strict=True
        ):
            first, beyond = text.spoken.original_span(text_start, text_end)
            if first < beyond:
                # Written in place: a story has some thousand words, and messages that are copied take twice the time.
                word = placed.words.add()
                word.text.start, word.text.end = text.start + first, text.start + beyond
                _write_microseconds(began + start, word.start)
                _write_microseconds(began + end, word.end)


def _write_microseconds(microseconds: int, duration: Duration) -> None:
    seconds, rest = divmod(microseconds, 1_000_000)
    duration.seconds, duration.nanos = seconds, rest * 1_000
