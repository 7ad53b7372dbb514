"""Storage that is away costs a narration time, and no second call for a segment that was paid."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
import pytest
from support.voice_kit import STORY, NamedVoice, faults
from support.voice_virtual import VirtualTold, virtual_voice

from standins.virtual_time import loop_time, run_virtually
from tale.storage.v1 import segment_pb2
from voice_service.synthesis.remote_store import RemoteSegments


class AwayStorage:
    """A channel to a segment service that does not answer while it is `away`, in virtual time."""

    def __init__(self) -> None:
        self.away_until = 0.0
        self.segments: dict[str, tuple[segment_pb2.StoredSegment, bytes]] = {}

    def unary_unary(self, method: str, **given: Any) -> Any:
        """FindSegments."""
        del method, given

        async def find(request: segment_pb2.FindSegmentsRequest, **call: Any) -> segment_pb2.FindSegmentsResponse:
            await self._answers(call["timeout"])
            found = {each.key for each in request.lookups} & self.segments.keys()
            return segment_pb2.FindSegmentsResponse(segments=[self.segments[key][0] for key in sorted(found)])

        return find

    def stream_unary(self, method: str, **given: Any) -> Any:
        """PutSegment."""
        del method, given

        async def put(requests: Iterable[segment_pb2.PutSegmentRequest], **call: Any) -> segment_pb2.PutSegmentResponse:
            del call
            await self._answers(0.0)
            header, *chunks, _ = requests
            segment = header.header.segment
            self.segments.setdefault(segment.key, (segment, b"".join(each.chunk for each in chunks)))
            return segment_pb2.PutSegmentResponse(segment=self.segments[segment.key][0])

        return put

    def unary_stream(self, method: str, **given: Any) -> Any:
        """ReadSegment."""
        del method, given

        async def read(
            request: segment_pb2.ReadSegmentRequest, **call: Any
        ) -> AsyncIterator[segment_pb2.ReadSegmentResponse]:
            await self._answers(call["timeout"])
            segment, audio = self.segments[request.key]
            yield segment_pb2.ReadSegmentResponse(header=segment)
            yield segment_pb2.ReadSegmentResponse(chunk=audio)

        return read

    async def close(self) -> None:
        """Nothing is open."""

    async def _answers(self, patience: float) -> None:
        """Waits for it as long as the caller does."""
        left = self.away_until - loop_time()
        if left > 0:
            await asyncio.sleep(min(left, patience))
        if left > patience:
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "it is away"
            )


@pytest.mark.parametrize("seconds", [60.0, 240.0])
def test_no_segment_is_paid_twice_while_storage_is_away(seconds: float) -> None:
    """A minute is waited out by the narration; after more it is made again, and finds what was paid for."""
    one, storage = NamedVoice("one", faults(first_byte_seconds=1.0, paid=True)), AwayStorage()

    async def work() -> tuple[list[VirtualTold], int]:
        store = RemoteSegments(storage)  # type: ignore[arg-type] # as much of a channel as is used
        async with virtual_voice(one, store=store, segment_words=10) as voice:
            telling = [asyncio.create_task(voice.tell(f"Story {number}. {STORY}")) for number in range(5)]
            await asyncio.sleep(3.5)
            storage.away_until = loop_time() + seconds
            told = await asyncio.gather(*telling)
            await asyncio.sleep(max(0.0, storage.away_until - loop_time()))
            for number, each in enumerate(told):
                if each.failure is not None:
                    assert "STORAGE_UNAVAILABLE" == each.failure.reason
                    told[number] = await voice.tell(f"Story {number}. {STORY}")
            return told, voice.circuit().failed_calls

    told, failed = run_virtually(work())
    assert [None] * 5 == [each.failure for each in told]
    texts = [request.text for request in one.journal.requests]
    assert len(set(texts)) == len(texts) == len(storage.segments)
    assert 0 == failed


def test_storage_that_takes_nothing_says_nothing_of_the_voice() -> None:
    """Its circuit stays closed, however many narrations fail."""
    one, storage = NamedVoice("one", faults(paid=True)), AwayStorage()

    async def work() -> tuple[list[VirtualTold], int, int]:
        store = RemoteSegments(storage)  # type: ignore[arg-type] # as much of a channel as is used
        async with virtual_voice(one, store=store, segments_ahead=0) as voice:
            telling = [asyncio.create_task(voice.tell(f"Story {number}. {STORY}")) for number in range(20)]
            await asyncio.sleep(0)
            storage.away_until = 10_000.0
            told = await asyncio.gather(*telling)
            return told, voice.circuit().failed_calls, voice.circuit().state_changes

    told, failed, changes = run_virtually(work())
    assert {"STORAGE_UNAVAILABLE"} == {each.failure.reason for each in told if each.failure is not None}
    assert 20 == sum(each.failure is not None for each in told)
    assert 0 == failed
    assert 0 == changes
