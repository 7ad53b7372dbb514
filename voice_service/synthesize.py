"""One segment of speech: from the cache, or from a provider, verified, and in the cache before anybody gets it."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.cache.ports import CachedSegment, CacheError
from voice_service.flight import Flight, FlightsFull, FlightTable
from voice_service.key import segment_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from voice_service.audio.encoder import AudioEncoder, Sound
    from voice_service.cache.ports import SegmentCache
    from voice_service.calls import Delivery, Order, ProviderCalls
    from voice_service.ledger import CallRecord
    from voice_service.ports import ProviderMetadata, SegmentRequest, StoryFormat, WordTiming

_log: Final = structlog.stdlib.get_logger(__name__)

_PAUSE_SECONDS: Final = 0.4
"""Length of a segment with nothing to say (a row of dots, an emoji)."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A segment that is ready, and its key in the cache.

    `cached` where nothing was called for it; `kept` is false where the cache failed.
    """

    segment: CachedSegment
    key: str
    cached: bool
    calls: tuple[CallRecord, ...] = ()
    kept: bool = True


class SpeechError(Exception):
    """A provider failed for good at one segment; `calls` are what was tried."""

    def __init__(self, error: ProviderError, calls: tuple[CallRecord, ...]) -> None:
        super().__init__(str(error))
        self.error = error
        self.calls = calls


@dataclass(slots=True)
class _Made:
    """What came of a flight. Its calls are told to one of those who waited for it."""

    segment: CachedSegment | None = None
    error: ProviderError | None = None
    calls: list[CallRecord] = field(default_factory=list)
    kept: bool = True
    noted: frozenset[str] = frozenset()
    """Stories that the cache was told of."""

    def take_calls(self) -> tuple[CallRecord, ...]:
        calls = tuple(self.calls)
        self.calls.clear()
        return calls


@dataclass(slots=True)
class _Aloft:
    """The flight that one who asked has begun, if any; `late` is told its calls where nobody waits for them."""

    late: Callable[[CallRecord], None]
    flight: Flight[_Made] | None = None
    made: _Made | None = None

    def began(self, flight: Flight[_Made], made: _Made) -> _Made:
        self.flight, self.made = flight, made
        return made

    def left(self) -> None:
        """Called when the flight ends, and when the one who asked gives up."""
        if self.flight is not None and self.made is not None and not self.flight.waiters:
            for call in self.made.take_calls():
                self.late(call)


class SegmentSynthesizer:
    """Makes segments, each once for all who ask for it at the same time."""

    def __init__(self, *, cache: SegmentCache, calls: ProviderCalls, encoder: AudioEncoder, max_flights: int) -> None:
        self._cache = cache
        self._calls = calls
        self._encoder = encoder
        self._flights = FlightTable[_Made](max_flights)

    async def speak(self, order: Order, story_id: str, late: Callable[[CallRecord], None]) -> Spoken:
        """Return the segment; the order's request names its voice and model. Raises SpeechError.

        Calls that end when this was cancelled and nobody else waits for them are told to `late`.
        """
        metadata = order.provider.metadata
        key = segment_key(order.request, metadata, order.story_format)
        aloft = _Aloft(late)

        async def make(flight: Flight[_Made]) -> _Made:
            made = aloft.began(flight, _Made(noted=frozenset({story_id})))
            try:
                await self._make(made, flight, key, order, story_id)
            finally:
                # Also where it is stopped between two calls: the first was billed.
                aloft.left()
            return made

        try:
            made = await self._flights.run(key, make, story_id)
        except asyncio.CancelledError:
            # It may have landed just before.
            aloft.left()
            raise
        except FlightsFull:
            segment = await self._cached(key, story_id)
            if segment is not None:
                return Spoken(segment, key, cached=True)
            name = metadata.name
            error = ProviderError(ProviderErrorKind.CONCURRENCY, "too many segments are being made", provider=name)
            raise SpeechError(error, ()) from None
        calls = made.take_calls()
        if made.segment is None:
            raise SpeechError(made.error or _lost(metadata), calls)
        kept = made.kept
        if story_id not in made.noted and await self._cached(key, story_id) is None:
            # It was kept for others, and forgotten with them.
            kept = await self._keep(key, made.segment, {story_id})
        return Spoken(made.segment, key, cached=not calls, calls=calls, kept=kept)

    async def pause(
        self, metadata: ProviderMetadata, request: SegmentRequest, story_format: StoryFormat, story_id: str
    ) -> Spoken:
        """Return silence for a text without anything to say; kept under its key like any segment."""
        key = segment_key(request, metadata, story_format)
        segment = await self._cached(key, story_id)
        if segment is not None:
            return Spoken(segment, key, cached=True)
        rate = story_format.sample_rate
        silence = await self._encoder.encode(bytes(2 * int(_PAUSE_SECONDS * rate)), rate, story_format)
        segment = _segment(silence, (), request, metadata)
        return Spoken(segment, key, cached=False, kept=await self._keep(key, segment, {story_id}))

    async def recall(
        self, metadata: ProviderMetadata, request: SegmentRequest, story_format: StoryFormat, story_id: str
    ) -> Spoken | None:
        """Return the segment if it is in the cache; calls nobody. Raises CacheError: then it may be there or not."""
        key = segment_key(request, metadata, story_format)
        segment = await self._cache.get(key, story_id)
        return None if segment is None else Spoken(segment, key, cached=True)

    async def given_as(self, spoken: Spoken, sha256: bytes) -> None:
        """Note the checksum of the bytes that hold a segment in a file, so that it can be forgotten by it."""
        if sha256 == spoken.segment.sha256:
            return
        try:
            await self._cache.note_audio(spoken.key, sha256)
        except CacheError as error:
            _log.warning("voice cache failed", why=str(error))

    async def landed(self, story_id: str) -> None:
        """Return when the calls that were sent for a story have ended."""
        await self._flights.landed(story_id)

    async def drain(self, timeout: float) -> None:
        """Let calls that were sent end into the cache, for `timeout` seconds."""
        await self._flights.drain(timeout)

    async def _make(self, made: _Made, flight: Flight[_Made], key: str, order: Order, story_id: str) -> None:
        made.segment = await self._cached(key, story_id)
        if made.segment is not None:
            return

        async def keep(delivery: Delivery) -> CachedSegment:
            segment = _segment(delivery.sound, delivery.words, order.request, order.provider.metadata)
            made.noted = frozenset(flight.askers)
            made.kept = await self._keep(key, segment, made.noted)
            return segment

        try:
            made.segment = await self._calls.fetch(order, made.calls, committed=flight.committed, keep=keep)
        except ProviderError as error:
            _log.warning("segment could not be spoken", provider=error.provider, kind=error.kind.value)
            made.error = error

    async def _cached(self, key: str, story_id: str) -> CachedSegment | None:
        try:
            return await self._cache.get(key, story_id)
        except CacheError as error:
            _log.warning("voice cache failed", why=str(error))
            return None

    async def _keep(self, key: str, segment: CachedSegment, story_ids: Collection[str]) -> bool:
        try:
            await self._cache.put(key, segment, story_ids)
        except CacheError as error:
            # What was paid for is spoken all the same; a resumed narration will find it missing and say so.
            _log.error("voice cache failed", why=str(error))
            return False
        return True


def _segment(
    sound: Sound, words: tuple[WordTiming, ...], request: SegmentRequest, metadata: ProviderMetadata
) -> CachedSegment:
    return CachedSegment(
        audio=sound.data,
        sha256=hashlib.sha256(sound.data).digest(),
        samples=sound.samples,
        sample_rate=sound.sample_rate,
        provider=metadata.name,
        voice_id=request.voice_id,
        model_id=request.model_id,
        words=words,
    )


def _lost(metadata: ProviderMetadata) -> ProviderError:
    return ProviderError(ProviderErrorKind.TRANSPORT, "the call came to nothing", provider=metadata.name)
