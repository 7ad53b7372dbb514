"""SegmentService on the wire: messages in, domain calls, messages out."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import grpc

from servicekit.validation import Violations
from storage_service.audio.segments import SegmentLibrary
from storage_service.errors import field_error
from storage_service.messages import chunks_of
from storage_service.records import Part
from storage_service.wire.checkpoint_requests import check_key
from storage_service.wire.requests import check_batch
from tale.storage.v1 import segment_pb2, segment_pb2_grpc

_MAX_BYTES: Final = 64 << 20
_MAX_WORDS: Final = 10_000

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
        _check_find(request)
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
        _check_put(header)
        stored, created = await self._segments.put(header.segment, header.story_id, pieces)
        return segment_pb2.PutSegmentResponse(segment=stored, created=created)

    async def ReadSegment(  # noqa: N802 - the contract's name
        self, request: segment_pb2.ReadSegmentRequest, context: _Context
    ) -> AsyncIterator[segment_pb2.ReadSegmentResponse]:
        """Reads a segment."""
        del context
        wrong = Violations()
        check_key(wrong, "key", request.key)
        wrong.raise_if_any()
        found = await self._segments.get(request.key)
        yield segment_pb2.ReadSegmentResponse(header=found.segment)
        part = Part(request.key, found.blob.size, found.blob)
        async with aclosing(self._segments.read(part)) as blocks:
            async for block in blocks:
                for chunk in chunks_of(block):
                    yield segment_pb2.ReadSegmentResponse(chunk=chunk)


def _check_find(request: segment_pb2.FindSegmentsRequest) -> None:
    found = Violations()
    for field, lookup in check_batch(found, "lookups", request.lookups):
        check_key(found, f"{field}.key", lookup.key)
        found.check_uuid7(f"{field}.story_id", lookup.story_id, required=False)
    found.raise_if_any()


def _check_put(header: segment_pb2.PutSegmentHeader) -> None:
    found = Violations()
    segment, words = header.segment, header.segment.words
    check_key(found, "header.segment.key", segment.key)
    found.check(len(segment.sha256) == 32, "header.segment.sha256", "must have 32 bytes")
    found.in_range("header.segment.size_bytes", segment.size_bytes, 1, _MAX_BYTES)
    found.in_range("header.segment.sample_rate", segment.sample_rate, 1, 384_000)
    found.check(segment.sample_count >= 0, "header.segment.sample_count", "must not be negative")
    for name in ("provider", "voice_id", "model_id"):
        found.text_bounds(f"header.segment.{name}", getattr(segment, name), most=200)
    counts = {len(words.text_starts), len(words.text_ends), len(words.start_us), len(words.end_us)}
    found.check(
        len(counts) == 1 and max(counts) <= _MAX_WORDS,
        "header.segment.words",
        f"must have four lists of one length, at most {_MAX_WORDS}",
    )
    found.check_uuid7("header.story_id", header.story_id, required=False)
    found.raise_if_any()
