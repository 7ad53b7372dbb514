"""SegmentService on the wire: messages in, domain calls, messages out."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc

from storage_service.audio.segments import SegmentLibrary
from storage_service.errors import field_error
from storage_service.messages import chunks_of
from storage_service.records import Part
from tale.storage.v1 import segment_pb2, segment_pb2_grpc

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
        return segment_pb2.FindSegmentsResponse(segments=await self._segments.find(request.lookups))

    async def PutSegment(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[segment_pb2.PutSegmentRequest], context: _Context
    ) -> segment_pb2.PutSegmentResponse:
        """Stores a segment."""
        del context
        pieces = aiter(request_iterator)
        first = await anext(pieces, None)
        if first is None or first.WhichOneof("piece") != "header":
            raise field_error("header", "must come first")
        header = first.header
        stored, created = await self._segments.put(header.segment, header.story_id, pieces)
        return segment_pb2.PutSegmentResponse(segment=stored, created=created)

    async def ReadSegment(  # noqa: N802 - the contract's name
        self, request: segment_pb2.ReadSegmentRequest, context: _Context
    ) -> AsyncIterator[segment_pb2.ReadSegmentResponse]:
        """Reads a segment."""
        del context
        found = await self._segments.get(request.key)
        yield segment_pb2.ReadSegmentResponse(header=found.segment)
        part = Part(request.key, found.blob.size, found.blob)
        async with aclosing(self._segments.read(part)) as blocks:
            async for block in blocks:
                for chunk in chunks_of(block):
                    yield segment_pb2.ReadSegmentResponse(chunk=chunk)
