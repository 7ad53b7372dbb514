"""SegmentService on the wire: messages in, domain calls, messages out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any, Final, TypeAlias

import grpc

from servicekit.errors import DomainError
from storage_service import segment_requests
from storage_service.audio.segments import SegmentLibrary
from storage_service.bounds import chunks_of
from storage_service.errors import UploadStalledError, field_error
from storage_service.records import Part
from tale.storage.v1 import segment_pb2, segment_pb2_grpc

_HEAR_OUT_SECONDS: Final = 5.0

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class SegmentServicer(segment_pb2_grpc.SegmentServiceServicer):
    """Answers for the segments of all owners."""

    def __init__(self, segments: SegmentLibrary) -> None:
        self._segments = segments

    async def FindSegments(  # noqa: N802 - the contract's name
        self, request: segment_pb2.FindSegmentsRequest, context: _Context
    ) -> segment_pb2.FindSegmentsResponse:
        """Returns stored segments."""
        del context
        segment_requests.check_find(request)
        return segment_pb2.FindSegmentsResponse(segments=await self._segments.find(request.lookups))

    async def PutSegment(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[segment_pb2.PutSegmentRequest], context: _Context
    ) -> segment_pb2.PutSegmentResponse:
        """Stores a segment."""
        del context
        pieces = aiter(request_iterator)
        try:
            first = await anext(pieces, None)
            if first is None or first.WhichOneof("piece") != "header":
                raise field_error("header", "must come first")
            header = first.header
            segment_requests.check_put(header)
            stored, created = await self._segments.put(header.segment, header.story_id, pieces)
            return segment_pb2.PutSegmentResponse(segment=stored, created=created)
        except UploadStalledError:
            raise
        except DomainError:
            await _hear_out(pieces)
            raise

    async def ReadSegment(  # noqa: N802 - the contract's name
        self, request: segment_pb2.ReadSegmentRequest, context: _Context
    ) -> AsyncIterator[segment_pb2.ReadSegmentResponse]:
        """Reads a segment."""
        del context
        segment_requests.check_key(request.key)
        found = await self._segments.get(request.key)
        yield segment_pb2.ReadSegmentResponse(header=found.segment)
        part = Part(request.key, found.blob.size, found.blob)
        async with aclosing(self._segments.read(part)) as blocks:
            async for block in blocks:
                for chunk in chunks_of(block):
                    yield segment_pb2.ReadSegmentResponse(chunk=chunk)


async def _hear_out(pieces: AsyncIterator[segment_pb2.PutSegmentRequest]) -> None:
    """Lets a caller finish sending, for a while.

    A client of grpc.aio that is still sending when its call fails reports INTERNAL instead of the status it was given.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_HEAR_OUT_SECONDS):
            async for _ in pieces:
                pass
