"""The segment store: facts in a store of records, bytes in an object store."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Final

import grpc
import structlog

from servicekit.errors import DomainError
from servicekit.validation import Progress
from servicekit.waiting import IdleTimeout
from storage_service.audio.noted import NotedObjects
from storage_service.errors import check_digest, field_error, segment_lost, segment_not_found, upload_stalled
from storage_service.metrics import StorageMetrics
from storage_service.ports import ObjectStore, SegmentStore, Upload
from storage_service.records import Digest, ObjectKind, Part, SegmentBlob
from tale.storage.v1 import segment_pb2

_log: Final = structlog.stdlib.get_logger("storage_service.audio")

_MAX_CHUNK: Final = 1 << 20
_ROOM: Final = 0.05
"""Part of the bound that an eviction frees, so that the next one is not due at once."""

_PAUSE_SECONDS: Final = 30.0
"""Until the next eviction where unfinished stories use all that is stored."""


class SegmentLibrary:
    """Segments and their bytes, `max_bytes` of them unless unfinished stories use more.

    `idle_seconds` bounds the wait for the next piece of an upload.
    """

    def __init__(
        self,
        segments: SegmentStore,
        files: ObjectStore,
        objects: NotedObjects,
        *,
        max_bytes: int,
        idle_seconds: float,
        metrics: StorageMetrics | None = None,
    ) -> None:
        self._metrics = metrics or StorageMetrics()
        self._metrics.max_bytes.set(max_bytes)
        self._segments = segments
        self._files = files
        self._objects = objects
        self._max_bytes = max_bytes
        self._idle_seconds = idle_seconds
        self._evicting = asyncio.Lock()
        self._next_eviction = 0.0

    async def find(self, lookups: Sequence[segment_pb2.SegmentLookup]) -> Sequence[segment_pb2.StoredSegment]:
        """Returns the segments that are stored."""
        found = await self._segments.find(lookups)
        self._metrics.looked_up(len(lookups), len(found))
        return found

    async def put(
        self, segment: segment_pb2.StoredSegment, story_id: str, pieces: AsyncIterator[segment_pb2.PutSegmentRequest]
    ) -> tuple[segment_pb2.StoredSegment, bool]:
        """Stores the bytes that `pieces` bring up to the commit; the segment as stored, and whether it is this one.

        Raises STORY_NOT_FOUND, AUDIO_MISMATCH, or VALIDATION_FAILED where the pieces do not follow each other up to a
        commit. Nothing is stored then.
        """
        async with self._objects.new(ObjectKind.SEGMENT) as key:
            async with self._files.upload(key) as upload:
                announced = Digest(segment.size_bytes, segment.sha256)
                async with _in_time(pieces, self._idle_seconds) as timely:
                    await self._receive(upload, timely, announced)
                await upload.publish(announced)
            added = await self._segments.add(segment, key, story_id)
        self._metrics.bytes.set(added.stored_bytes)
        self._metrics.stored.inc(added.created)
        if not added.created:
            await self._objects.drop([key])
        elif added.stored_bytes > self._max_bytes and time.monotonic() >= self._next_eviction:
            try:
                await self.make_room()
            except DomainError as error:
                # The segment is stored all the same; the next one tries again.
                _log.warning("segments not evicted", reason=error.reason)
        return added.segment, added.created

    async def get(self, segment_key: str) -> SegmentBlob:
        """Returns a segment and where its bytes are; SEGMENT_NOT_FOUND."""
        found = await self._segments.get(segment_key)
        if found is None:
            raise segment_not_found(segment_key)
        return found

    async def read(self, part: Part, *, offset: int = 0, limit: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yields the bytes of a segment. One whose bytes are lost is dropped, to be stored again: SEGMENT_LOST."""
        if part.blob is None:
            raise segment_lost(part.segment_key)
        try:
            async with aclosing(self._files.read(part.blob, offset=offset, limit=limit)) as blocks:
                async for block in blocks:
                    yield block
        except DomainError as error:
            if error.code is not grpc.StatusCode.DATA_LOSS:
                raise
            # Otherwise it was evicted or deleted a moment ago.
            if await self._segments.drop(part.segment_key, part.blob.key):
                _log.error("segment missing or damaged", segment_key=part.segment_key)
            raise segment_lost(part.segment_key) from error

    async def make_room(self) -> None:
        """Evicts segments where there are more than the bound. One eviction runs at a time."""
        if self._evicting.locked():
            return
        async with self._evicting:
            # The bound itself first: what is within it stays.
            evicted = await self._segments.evict(self._max_bytes)
            while evicted.dropped:
                self._metrics.evicted.inc(len(evicted.dropped))
                await self._objects.drop(evicted.dropped)
                evicted = await self._segments.evict(int(self._max_bytes * (1 - _ROOM)))
            self._metrics.bytes.set(evicted.stored_bytes)
            if evicted.stored_bytes > self._max_bytes:
                self._next_eviction = time.monotonic() + _PAUSE_SECONDS
                _log.warning(
                    "segment store bound exceeded",
                    variable="SEGMENT_STORE_MAX_BYTES",
                    stored_bytes=evicted.stored_bytes,
                    max_bytes=self._max_bytes,
                )

    async def _receive(
        self, upload: Upload, pieces: AsyncIterator[segment_pb2.PutSegmentRequest], announced: Digest
    ) -> None:
        received, progress = 0, Progress("chunk")
        async for piece in pieces:
            match piece.WhichOneof("piece"):
                case "chunk":
                    # Read once: each access to the field copies it.
                    chunk = piece.chunk
                    progress.count(chunk)
                    received += len(chunk)
                    if len(chunk) > _MAX_CHUNK:
                        raise field_error("chunk", f"must have at most {_MAX_CHUNK} bytes")
                    if received > announced.size:
                        check_digest(replace(announced, size=received), announced)
                    await upload.write(chunk)
                case "commit":
                    if await anext(pieces, None) is not None:
                        raise field_error("commit", "must come last")
                    check_digest(replace(announced, size=received), announced)
                    return
                case _:
                    raise field_error("header", "must come once")
        raise field_error("commit", "must be given; nothing is stored without it")


@asynccontextmanager
async def _in_time(
    pieces: AsyncIterator[segment_pb2.PutSegmentRequest], seconds: float
) -> AsyncGenerator[AsyncIterator[segment_pb2.PutSegmentRequest], None]:
    """Yields the pieces, for each of which the block waits at most `seconds`; UPLOAD_STALLED."""
    idle = IdleTimeout(seconds)

    async def timed() -> AsyncGenerator[segment_pb2.PutSegmentRequest, None]:
        idle.begin()
        async for piece in pieces:
            idle.end()
            yield piece
            idle.begin()
        idle.end()

    try:
        async with idle:
            yield timed()
    except TimeoutError:
        if not idle.lost:
            raise
        raise upload_stalled() from None
