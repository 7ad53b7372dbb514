"""One segment of speech: found in the segment store, or made by a provider, verified and stored."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

import structlog

from servicekit.errors import DomainError
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from tale.storage.v1.segment_pb2 import StoredSegment
from voice_service.audio.decode import silent
from voice_service.synthesis.budget import Tries
from voice_service.synthesis.flight import FlightsFull, FlightTable
from voice_service.synthesis.store import SegmentMissingError, segment_key, store_unavailable, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from tale.common.v1.common_pb2 import Attempt
    from voice_service.audio.encoder import AudioEncoder, Sound
    from voice_service.metrics import VoiceMetrics
    from voice_service.ports import WordTiming
    from voice_service.synthesis.call import Order
    from voice_service.synthesis.calls import Delivery, ProviderCalls
    from voice_service.synthesis.flight import Flight, Turn
    from voice_service.synthesis.store import SegmentStore

_log: Final = structlog.stdlib.get_logger(__name__)

_PAUSE_SECONDS: Final = 0.4
"""Length of a segment with nothing to say (a row of dots, an emoji)."""
_LOST: Final = "The segment store has lost a segment."
_TRIES: Final = 2
"""Times that a segment is made: the second one where the store loses it before it is read."""


class AudioNeed(Enum):
    """Which bytes a narration needs of a segment."""

    NONE = "none"
    """None: they are released as soon as they are stored."""
    AT_HAND = "at hand"
    """Those that were made just now."""
    BYTES = "bytes"
    """All, from the store where they are not at hand."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A segment that is stored.

    `cached` where no provider was called for it; `audio` as the caller needs it.
    """

    segment: StoredSegment
    cached: bool
    calls: tuple[Attempt, ...] = ()
    audio: bytes | None = None


class SpeechError(Exception):
    """A segment could not be made: its provider failed for good, or the store did; `calls` are what was tried."""

    def __init__(self, error: ProviderError | DomainError, calls: tuple[Attempt, ...]) -> None:
        super().__init__(str(error))
        self.error = error
        self.calls = calls


@dataclass(slots=True)
class _Made:
    """Result of a flight. Its calls are reported to one of those that waited for it."""

    tries: Tries = field(default_factory=Tries)
    """Those of the order that it was made for."""
    segment: StoredSegment | None = None
    audio: bytes | None = None
    """The bytes of `segment`, where they were made here."""
    error: ProviderError | DomainError | None = None
    calls: list[Attempt] = field(default_factory=list)
    user: str = ""
    """Story that the store knows to use it."""

    def take_calls(self, segment_index: int) -> tuple[Attempt, ...]:
        calls = tuple(self.calls)
        self.calls.clear()
        for call in calls:
            # It may be another segment for each of those that waited.
            call.segment_index = segment_index
        return calls


@dataclass(slots=True)
class _Aloft:
    """The flight that a caller has started, if any; `late` is given its calls where no caller waits for them."""

    late: Callable[[Attempt], None]
    segment_index: int
    flight: Flight[_Made] | None = None
    made: _Made | None = None

    def left(self) -> None:
        """Called when the flight ends, and when the caller gives up."""
        if self.flight is not None and self.made is not None and not self.flight.waiters:
            for call in self.made.take_calls(self.segment_index):
                self.late(call)


class SegmentSynthesizer:
    """Makes segments, each once for all that ask for it at the same time."""

    def __init__(
        self,
        *,
        store: SegmentStore,
        calls: ProviderCalls,
        encoder: AudioEncoder,
        metrics: VoiceMetrics,
        max_flights: int,
    ) -> None:
        self._store = store
        self._calls = calls
        self._encoder = encoder
        self._metrics = metrics
        self._flights = FlightTable[_Made](max_flights)

    async def speak(
        self, order: Order, story_id: str, turn: Turn, late: Callable[[Attempt], None], *, need: AudioNeed
    ) -> Spoken:
        """Returns the segment; the order's request names its voice and model.

        A provider is called when it is the segment's `turn`. Calls that end when this was cancelled and no other
        caller waits for them go to `late`. Raises SpeechError.
        """
        key = _key(order)
        calls: tuple[Attempt, ...] = ()
        for _ in range(_TRIES):
            made = await self._flown(key, order, story_id, turn, late)
            calls += made.take_calls(order.segment_index)
            order.tries.share(made.tries)
            if made.segment is None:
                raise SpeechError(made.error or _lost(order), calls)
            try:
                segment = await self._used(made, made.segment, story_id)
                audio = await self._audio(segment, made.audio, need)
            except DomainError as error:
                raise SpeechError(error, calls) from error
            except SegmentMissingError:
                # Made again, now that the store knows.
                continue
            (self._metrics.segments_made if calls else self._metrics.segments_found).inc()
            return Spoken(segment, cached=not calls, calls=calls, audio=audio)
        raise SpeechError(store_unavailable(_LOST), calls)

    async def pause(self, order: Order, story_id: str, *, need: AudioNeed) -> Spoken:
        """Returns silence for a text without anything to say. Raises DomainError."""
        try:
            return await self._paused(order, story_id, need)
        except SegmentMissingError as error:
            raise store_unavailable(_LOST) from error

    async def _paused(self, order: Order, story_id: str, need: AudioNeed) -> Spoken:
        key = _key(order)
        segment = (await self._store.find([key], story_id)).get(key)
        if segment is not None:
            return Spoken(segment, cached=True, audio=await self._audio(segment, None, need))
        rate = order.story_format.sample_rate
        silence = await self._encoder.encode(silent(_PAUSE_SECONDS, rate), order.story_format)
        made = _segment(key, silence, (), order)
        segment = await self._store.put(made, silence.data, story_id, deadline=order.deadline)
        audio = silence.data if segment.sha256 == made.sha256 else None
        return Spoken(segment, cached=False, audio=await self._audio(segment, audio, need))

    async def is_stored(self, order: Order, story_id: str) -> bool:
        """Returns whether the segment is stored. Raises DomainError."""
        return bool(await self._store.find([_key(order)], story_id))

    def is_called(self, turn: Turn) -> bool:
        """Returns whether a provider is being called for the segment with this turn."""
        return self._flights.is_committed(turn)

    async def landed(self, turns: Collection[Turn]) -> None:
        """Returns when the calls that were sent for segments with these turns have ended."""
        await self._flights.landed(turns)

    async def drain(self, timeout: float) -> None:
        """Lets calls that were sent end, and their audio be stored, for `timeout` seconds."""
        await self._flights.drain(timeout)

    async def _flown(self, key: str, order: Order, story_id: str, turn: Turn, late: Callable[[Attempt], None]) -> _Made:
        aloft = _Aloft(late, order.segment_index)

        async def make(flight: Flight[_Made]) -> _Made:
            aloft.flight, aloft.made = flight, _Made(order.tries)
            try:
                await self._make(aloft.made, flight, key, order, story_id)
            finally:
                # Also where it is stopped between two calls: the first was billed.
                aloft.left()
            return aloft.made

        try:
            return await self._flights.run(key, make, turn, story_id)
        except asyncio.CancelledError:
            # It may have landed just before.
            aloft.left()
            raise
        except FlightsFull:
            return await self._found_or_refused(key, order, story_id)

    async def _make(self, made: _Made, flight: Flight[_Made], key: str, order: Order, story_id: str) -> None:
        async def store(delivery: Delivery) -> None:
            sound = delivery.sound
            segment = _segment(key, sound, delivery.words, order)
            made.segment, made.user = await self._put(segment, sound.data, flight, order)
            if made.segment.sha256 == segment.sha256:
                made.audio = sound.data

        try:
            made.user = story_id
            made.segment = (await self._store.find([key], story_id)).get(key)
            if made.segment is None:
                await flight.admitted.wait()
                await self._calls.fetch(order, made.calls, flight=flight, store=store)
            flight.pass_on()
        except ProviderError as error:
            _log.warning("segment not spoken", provider=error.provider, kind=error.kind.value)
            made.error = error
        except DomainError as error:
            _log.warning("segment store failed", reason=error.reason)
            made.error = error

    async def _put(
        self, segment: StoredSegment, audio: bytes, flight: Flight[_Made], order: Order
    ) -> tuple[StoredSegment, str]:
        """Stores a segment for one of the stories that asked for it; those that were deleted meanwhile do not count."""
        asked: set[str] = set()
        while True:
            story_id = next(each for each in flight.askers.values() if each not in asked)
            asked.add(story_id)
            try:
                return await self._store.put(segment, audio, story_id, deadline=order.deadline), story_id
            except DomainError as error:
                if error.reason != "STORY_NOT_FOUND" or asked.issuperset(flight.askers.values()):
                    raise

    async def _used(self, made: _Made, segment: StoredSegment, story_id: str) -> StoredSegment:
        """Returns the segment, which the store knows that `story_id` uses. Raises SegmentMissingError, DomainError."""
        if story_id == made.user:
            return segment
        found = (await self._store.find([segment.key], story_id)).get(segment.key)
        if found is not None:
            return found
        # It went with the other story.
        if made.audio is None:
            raise SegmentMissingError(segment.key)
        return await self._store.put(segment, made.audio, story_id)

    async def _audio(self, segment: StoredSegment, at_hand: bytes | None, need: AudioNeed) -> bytes | None:
        if need is AudioNeed.NONE:
            return None
        return await self._store.read(segment.key) if at_hand is None and need is AudioNeed.BYTES else at_hand

    async def _found_or_refused(self, key: str, order: Order, story_id: str) -> _Made:
        """Returns the segment where it is stored; no more can be made now."""
        try:
            found = (await self._store.find([key], story_id)).get(key)
        except DomainError as error:
            return _Made(error=error)
        name = order.provider.metadata.name
        full = ProviderError(ProviderErrorKind.CONCURRENCY, "too many segments are being made", provider=name)
        return _Made(segment=found, error=full, user=story_id)


def _key(order: Order) -> str:
    return segment_key(order.request, order.provider.metadata, order.story_format)


def _segment(key: str, sound: Sound, words: Iterable[WordTiming], order: Order) -> StoredSegment:
    request = order.request
    return StoredSegment(
        key=key,
        size_bytes=len(sound.data),
        sha256=hashlib.sha256(sound.data).digest(),
        sample_count=sound.samples,
        sample_rate=sound.sample_rate,
        provider=order.provider.metadata.name,
        voice_id=request.voice_id,
        model_id=request.model_id,
        words=words_of(words),
    )


def _lost(order: Order) -> ProviderError:
    return ProviderError(ProviderErrorKind.TRANSPORT, "the call came to nothing", provider=order.provider.metadata.name)
