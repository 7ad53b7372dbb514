"""Stores segments in the segment store of the storage service."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from itertools import count
from random import uniform
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc
import structlog

from servicekit.status import from_rpc_error
from tale.storage.v1 import segment_pb2, segment_pb2_grpc
from tale.storage.v1.segment_pb2 import StoredSegment
from voice_service.synthesis.store import MemorySegments, SegmentMissingError, store_unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence

    from servicekit.errors import DomainError


T = TypeVar("T")

_log: Final = structlog.stdlib.get_logger(__name__)

_PUTS: Final = 8
"""Segments that are sent at a time: each is in memory twice more while it is."""
_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 2.0
_CALL_SECONDS: Final = 10.0
_TRANSFER_SECONDS: Final = 30.0
_SHORTEST_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 90.0
"""Seconds that one segment is tried for while storage is away or out of room."""
_HELD_BYTES: Final = 64 << 20
"""Most bytes of segments that are held because storage did not take them."""
_PASSING: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
_MISSING: Final = frozenset({grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.DATA_LOSS})


class RemoteSegments:
    """A SegmentStore behind `channel`.

    Calls are repeated for `retry_seconds` while storage is away or out of room. A segment that storage did not take
    is held in memory, the least recently used making room, and stored when it is looked for again.
    """

    is_shared = True

    def __init__(
        self, channel: grpc.aio.Channel, *, retry_seconds: float = _RETRY_SECONDS, held_bytes: int = _HELD_BYTES
    ) -> None:
        self._channel = channel
        self._stub: Any = segment_pb2_grpc.SegmentServiceStub(channel)
        self._retry_seconds = retry_seconds
        self._putting = asyncio.Semaphore(_PUTS)
        self._held = MemorySegments(held_bytes)
        self._lookups = LookupBatches(self._find)

    async def find(self, keys: Collection[str], story_id: str) -> Mapping[str, StoredSegment]:
        """See SegmentStore."""
        found = await self._lookups.find(keys, story_id)
        for key in keys:
            if key not in found and (held := self._held.take(key)) is not None:
                found[key] = await self.put(*held, story_id)
        return found

    async def read(self, key: str) -> bytes:
        """See SegmentStore."""
        try:
            header, audio = await self._insist(lambda seconds: self._read(key, seconds), _TRANSFER_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() in _MISSING:
                raise SegmentMissingError(key) from error
            raise _failure(error) from error
        if len(audio) != header.size_bytes or hashlib.sha256(audio).digest() != header.sha256:
            raise SegmentMissingError(key)
        return audio

    async def put(
        self, segment: StoredSegment, audio: bytes, story_id: str, *, deadline: float | None = None
    ) -> StoredSegment:
        """See SegmentStore."""
        try:
            stored = await self._insist(
                lambda seconds: self._put(segment, audio, story_id, seconds), _TRANSFER_SECONDS, deadline
            )
        except grpc.aio.AioRpcError as error:
            failure = _failure(error)
            if failure.code is not grpc.StatusCode.NOT_FOUND:
                self._held.add(segment, audio)
                _log.error("segment not stored and held", segment_key=segment.key[:12], code=error.code().name)
            raise failure from error
        except asyncio.CancelledError:
            self._held.add(segment, audio)
            raise
        return stored

    async def aclose(self) -> None:
        """Closes the channel."""
        await self._lookups.aclose()
        await self._channel.close()

    async def _insist(self, call: Callable[[float], Awaitable[T]], most: float, deadline: float | None = None) -> T:
        """Makes a call of at most `most` seconds, again while its failure may pass. Raises AioRpcError."""
        clock = asyncio.get_running_loop().time
        now = clock()
        end = now + self._retry_seconds if deadline is None else min(deadline, now + self._retry_seconds)
        for attempt in count():
            try:
                # One attempt is made even where no time is left: what was paid for is worth it.
                return await call(min(most, max(_SHORTEST_SECONDS, end - clock())))
            except grpc.aio.AioRpcError as error:
                wait = uniform(0.0, min(_FIRST_WAIT_SECONDS * 2**attempt, _LONGEST_WAIT_SECONDS))
                if error.code() not in _PASSING or clock() + wait >= end:
                    raise
                _log.warning("storage call repeated", code=error.code().name, attempt=attempt + 1)
            await asyncio.sleep(wait)
        raise AssertionError("attempts end with a result or an error")

    async def _find(self, lookups: Sequence[Lookup]) -> dict[str, StoredSegment]:
        request = segment_pb2.FindSegmentsRequest(
            lookups=[segment_pb2.SegmentLookup(key=each.key, story_id=each.story_id) for each in lookups]
        )

        async def send(seconds: float) -> segment_pb2.FindSegmentsResponse:
            response: segment_pb2.FindSegmentsResponse = await self._stub.FindSegments(
                request, timeout=seconds, wait_for_ready=True
            )
            return response

        try:
            response = await self._insist(send, _CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from error
        return {segment.key: segment for segment in response.segments}

    async def _put(self, segment: StoredSegment, audio: bytes, story_id: str, seconds: float) -> StoredSegment:
        async with self._putting:
            # Not waited for where storage is away: the place is for those that it takes.
            response: segment_pb2.PutSegmentResponse = await self._stub.PutSegment(
                put_requests(segment, audio, story_id), timeout=seconds
            )
        return response.segment

    async def _read(self, key: str, seconds: float) -> tuple[StoredSegment, bytes]:
        header, chunks = StoredSegment(), []
        request = segment_pb2.ReadSegmentRequest(key=key)
        async for piece in self._stub.ReadSegment(request, timeout=seconds, wait_for_ready=True):
            if piece.HasField("header"):
                header = piece.header
            else:
                chunks.append(piece.chunk)
        return header, b"".join(chunks)


def _failure(error: grpc.aio.AioRpcError) -> DomainError:
    """What a call that failed for good means to the caller of a narration."""
    known = from_rpc_error(error)
    return store_unavailable(f"The segment store failed ({known.reason}).") if error.code() in _PASSING else known


_CHUNK: Final = 1 << 20
"""Most bytes of a chunk; most segments of the default format are one."""


def put_requests(segment: StoredSegment, audio: bytes, story_id: str) -> Iterator[segment_pb2.PutSegmentRequest]:
    """Yields the messages that store a segment: header, chunks, commit."""
    header = segment_pb2.PutSegmentHeader(segment=segment, story_id=story_id)
    yield segment_pb2.PutSegmentRequest(header=header)
    for begin in range(0, len(audio), _CHUNK):
        yield segment_pb2.PutSegmentRequest(chunk=audio[begin : begin + _CHUNK])
    yield segment_pb2.PutSegmentRequest(commit=segment_pb2.PutSegmentCommit())


_MOST: Final = 1_000
"""Most lookups of one request."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A segment that is wanted, the story that uses it ("": none), and the answer to come."""

    key: str
    story_id: str
    answer: asyncio.Future[StoredSegment | None]


class LookupBatches:
    """Sends a lookup at once where no request is in flight. `send` returns the segments that are stored, by key."""

    def __init__(self, send: Callable[[Sequence[Lookup]], Awaitable[Mapping[str, StoredSegment]]]) -> None:
        self._send = send
        self._waiting: list[Lookup] = []
        self._sending: asyncio.Task[None] | None = None

    async def find(self, keys: Collection[str], story_id: str) -> dict[str, StoredSegment]:
        """Returns those of the segments that are stored. Raises what `send` raises."""
        loop = asyncio.get_running_loop()
        waiting = [Lookup(key, story_id, loop.create_future()) for key in dict.fromkeys(keys)]
        self._waiting += waiting
        if self._sending is None or self._sending.done():
            # A task of its own: the caller that began it may be cancelled.
            self._sending = asyncio.create_task(self._send_all(), name="segment lookups")
        answers = [await each.answer for each in waiting]
        return {found.key: found for found in answers if found is not None}

    async def aclose(self) -> None:
        """Stops what is in flight."""
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            await asyncio.wait([self._sending])
        for each in self._waiting:
            each.answer.cancel()

    async def _send_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            try:
                found = await self._send(batch)
            except asyncio.CancelledError:
                for each in batch:
                    each.answer.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - raised to all that wait for the answer
                for each in batch:
                    if not each.answer.done():
                        each.answer.set_exception(error)
                        each.answer.exception()  # seen, though a caller of several keys awaits only the first
            else:
                for each in batch:
                    if not each.answer.done():
                        each.answer.set_result(found.get(each.key))
