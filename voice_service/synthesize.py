"""One segment of speech: from the cache, or from a provider, verified, and in the cache before anybody gets it."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.mp3 import walk
from voice_service.cache.ports import CachedSegment, CacheError
from voice_service.collect import collect
from voice_service.flight import Flight, FlightsFull, FlightTable
from voice_service.key import segment_key
from voice_service.ledger import CallOutcome, CallRecord, OpenCall
from voice_service.ports import MP3_44100_128

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from voice_service.audio.encoder import Mp3Encoder
    from voice_service.audio.finish import SegmentFinisher
    from voice_service.cache.ports import SegmentCache
    from voice_service.collect import Timers
    from voice_service.ports import ProviderMetadata, SegmentRequest, VoiceProvider
    from voice_service.retry import RetryPolicy
    from voice_service.slots import ProviderSlots

_log: Final = structlog.stdlib.get_logger(__name__)

_PAUSE_SECONDS: Final = 0.4
"""Length of a segment with nothing to say (a row of dots, an emoji)."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A segment that is ready. `cached` where nothing was called for it; `kept` is false where the cache failed."""

    segment: CachedSegment
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


class SegmentSynthesizer:
    """Makes segments, each once for all who ask for it at the same time."""

    def __init__(
        self,
        *,
        cache: SegmentCache,
        finisher: SegmentFinisher,
        encoder: Mp3Encoder,
        slots: ProviderSlots,
        timers: Timers,
        retry: RetryPolicy,
        max_flights: int,
    ) -> None:
        self._cache = cache
        self._finisher = finisher
        self._encoder = encoder
        self._slots = slots
        self._timers = timers
        self._retry = retry
        self._flights = FlightTable[_Made](max_flights)

    async def speak(
        self, provider: VoiceProvider, request: SegmentRequest, story_id: str, late: Callable[[CallRecord], None]
    ) -> Spoken:
        """Return the segment; `request` names its voice and model. Raises SpeechError.

        Calls that end when this was cancelled and nobody else waits for them are told to `late`.
        """
        key = segment_key(request, provider.metadata, MP3_44100_128)

        async def make(flight: Flight[_Made]) -> _Made:
            made = await self._make(flight, key, provider, request, story_id)
            if not flight.waiters:
                for call in made.take_calls():
                    late(call)
            return made

        try:
            made = await self._flights.run(key, make, story_id)
        except FlightsFull:
            segment = await self._cached(key, story_id)
            if segment is not None:
                return Spoken(segment, cached=True)
            name = provider.metadata.name
            error = ProviderError(ProviderErrorKind.CONCURRENCY, "too many segments are being made", provider=name)
            raise SpeechError(error, ()) from None
        calls = made.take_calls()
        if made.segment is None:
            raise SpeechError(made.error or _lost(provider.metadata), calls)
        kept = made.kept
        if story_id not in made.noted and await self._cached(key, story_id) is None:
            # It was kept for others, and forgotten with them.
            kept = await self._keep(key, made.segment, {story_id})
        return Spoken(made.segment, cached=not calls, calls=calls, kept=kept)

    async def pause(self, metadata: ProviderMetadata, request: SegmentRequest, story_id: str) -> Spoken:
        """Return silence for a text without anything to say; kept under its key like any segment."""
        key = segment_key(request, metadata, MP3_44100_128)
        segment = await self._cached(key, story_id)
        if segment is not None:
            return Spoken(segment, cached=True)
        rate = MP3_44100_128.sample_rate
        silence = walk(await self._encoder.encode(bytes(2 * int(_PAUSE_SECONDS * rate)), rate))
        segment = CachedSegment(
            audio=silence.data,
            sha256=hashlib.sha256(silence.data).digest(),
            samples=silence.samples,
            sample_rate=silence.sample_rate,
            provider=metadata.name,
            voice_id=request.voice_id,
            model_id=request.model_id,
        )
        return Spoken(segment, cached=False, kept=await self._keep(key, segment, {story_id}))

    async def recall(self, metadata: ProviderMetadata, request: SegmentRequest, story_id: str) -> CachedSegment | None:
        """Return the segment if it is in the cache; calls nobody. Raises CacheError: then it may be there or not."""
        return await self._cache.get(segment_key(request, metadata, MP3_44100_128), story_id)

    async def drain(self, timeout: float) -> None:
        """Let calls that were sent end into the cache, for `timeout` seconds."""
        await self._flights.drain(timeout)

    async def _make(
        self, flight: Flight[_Made], key: str, provider: VoiceProvider, request: SegmentRequest, story_id: str
    ) -> _Made:
        made = _Made(noted=frozenset({story_id}))
        made.segment = await self._cached(key, story_id)
        if made.segment is not None:
            return made
        try:
            async for attempt in self._retry.attempts():
                with attempt:
                    async with self._slots.of(provider.metadata):
                        with flight.committed():
                            made.segment = await self._call(provider, request, made.calls)
                            made.noted = frozenset(flight.askers)
                            made.kept = await self._keep(key, made.segment, made.noted)
        except ProviderError as error:
            made.error = error
        return made

    async def _call(self, provider: VoiceProvider, request: SegmentRequest, calls: list[CallRecord]) -> CachedSegment:
        metadata = provider.metadata
        call = OpenCall(
            provider=metadata.name,
            voice_id=request.voice_id,
            model_id=request.model_id,
            characters=len(request.text),
            paid=metadata.paid,
        )
        try:
            got = await collect(provider, request, self._timers, on_facts=call.note, on_first_byte=lambda: None)
            verified = await self._finisher.finish(got.audio, request=request, metadata=metadata)
        except ProviderError as error:
            calls.append(call.ended(CallOutcome.FAILED, error.kind.value))
            _log.warning("speech call failed", provider=metadata.name, kind=error.kind.value)
            raise
        except asyncio.CancelledError:
            calls.append(call.ended(CallOutcome.CANCELLED, ProviderErrorKind.CANCELLED.value))
            raise
        calls.append(call.ended(CallOutcome.SUCCEEDED))
        return CachedSegment(
            audio=verified.data,
            sha256=hashlib.sha256(verified.data).digest(),
            samples=verified.samples,
            sample_rate=verified.sample_rate,
            provider=metadata.name,
            voice_id=request.voice_id,
            model_id=request.model_id,
            words=got.words,
        )

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


def _lost(metadata: ProviderMetadata) -> ProviderError:
    return ProviderError(ProviderErrorKind.TRANSPORT, "the call came to nothing", provider=metadata.name)
