"""A segment service in the test's process, whose moods a test sets, and segments to store."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

from servicekit.app import App
from servicekit.channel import open_channel
from servicekit.errors import DomainError, not_found
from support.servers import running
from support.voice_kit import sha256
from tale.storage.v1 import segment_pb2, segment_pb2_grpc
from voice_service.synthesis.remote_store import RemoteSegments

KEY = "a" * 64
WORDS = segment_pb2.SegmentWords(text_starts=(0, 5), text_ends=(4, 9), start_us=(0, 400_000), end_us=(350_000, 812_345))


def segment(
    audio: bytes = b"sound", key: str = KEY, *, words: segment_pb2.SegmentWords | None = None
) -> segment_pb2.StoredSegment:
    """The facts of a segment with these bytes."""
    return segment_pb2.StoredSegment(
        key=key,
        size_bytes=len(audio),
        sha256=sha256(audio),
        sample_count=1152,
        sample_rate=44_100,
        provider="one",
        voice_id="v",
        model_id="m",
        words=words,
    )


class FakeSegments(segment_pb2_grpc.SegmentServiceServicer):
    """Segments in a dictionary, with the stories that use each."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[segment_pb2.StoredSegment, bytes]] = {}
        self.used_by: defaultdict[str, set[str]] = defaultdict(set)
        self.deleted: set[str] = set()
        """Stories that do not exist any more."""
        self.batches: list[int] = []
        """Lookups of each FindSegments."""
        self.puts = 0
        self.largest = 0
        """Bytes of the largest chunk that came."""
        self.refused: list[DomainError] = []
        """Raised by the next PutSegments, in the middle of their bytes."""
        self.put_failed = asyncio.Event()
        self.find_goes_on = asyncio.Event()
        self.find_goes_on.set()
        self.finding = asyncio.Event()

    async def FindSegments(  # noqa: N802 - gRPC's name
        self, request: segment_pb2.FindSegmentsRequest, context: Any
    ) -> segment_pb2.FindSegmentsResponse:
        """Returns what there is."""
        del context
        self.batches.append(len(request.lookups))
        self.finding.set()
        await self.find_goes_on.wait()
        found = {each.key: each.story_id for each in request.lookups if each.key in self.rows}
        for key, story_id in found.items():
            self.used_by[key].add(story_id)
        return segment_pb2.FindSegmentsResponse(segments=[self.rows[key][0] for key in found])

    async def PutSegment(  # noqa: N802 - gRPC's name
        self, request_iterator: AsyncIterator[segment_pb2.PutSegmentRequest], context: Any
    ) -> segment_pb2.PutSegmentResponse:
        """Stores a segment."""
        del context
        self.puts += 1
        header, audio, committed = segment_pb2.PutSegmentHeader(), b"", False
        async for piece in request_iterator:
            if piece.HasField("header"):
                header = piece.header
                if header.story_id in self.deleted:
                    raise not_found("STORY_NOT_FOUND", "There is no story of that id.")
            elif piece.HasField("chunk"):
                audio += piece.chunk
                self.largest = max(self.largest, len(piece.chunk))
                if self.refused:
                    self.put_failed.set()
                    raise self.refused.pop(0)
            else:
                committed = True
        key = header.segment.key
        assert committed
        assert (len(audio), sha256(audio)) == (header.segment.size_bytes, header.segment.sha256)
        created = key not in self.rows
        stored, _ = self.rows.setdefault(key, (header.segment, audio))
        self.used_by[key].add(header.story_id)
        return segment_pb2.PutSegmentResponse(segment=stored, created=created)

    async def ReadSegment(  # noqa: N802 - gRPC's name
        self, request: segment_pb2.ReadSegmentRequest, context: Any
    ) -> AsyncGenerator[segment_pb2.ReadSegmentResponse, None]:
        """Gives the bytes, in two pieces."""
        del context
        if request.key not in self.rows:
            raise not_found("SEGMENT_NOT_FOUND", "There is no segment of that key.")
        header, audio = self.rows[request.key]
        yield segment_pb2.ReadSegmentResponse(header=header)
        half = len(audio) // 2
        for chunk in (audio[:half], audio[half:]):
            yield segment_pb2.ReadSegmentResponse(chunk=chunk)


def out_of_room() -> DomainError:
    """What storage says when its disk is full."""
    return DomainError("STORAGE_FULL", "No room.")


class FakeStorage(App):
    """The segment service as an app."""

    def __init__(self, segments: FakeSegments) -> None:
        self._segments = segments

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds the servicer."""
        segment_pb2_grpc.add_SegmentServiceServicer_to_server(self._segments, server)
        return (segment_pb2.DESCRIPTOR.services_by_name["SegmentService"].full_name,)


@asynccontextmanager
async def fake_storage(segments: FakeSegments | None = None) -> AsyncIterator[tuple[FakeSegments, str]]:
    """Runs a segment service; the service and its address."""
    segments = segments or FakeSegments()
    async with running(FakeStorage(segments), service="storage", drain_seconds=0) as service:
        yield segments, service.address


@asynccontextmanager
async def remote(address: str, **given: Any) -> AsyncIterator[RemoteSegments]:
    """The adapter, connected."""
    store = RemoteSegments(open_channel(address), **given)
    try:
        yield store
    finally:
        await store.aclose()
