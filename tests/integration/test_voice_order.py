"""Segments made ahead reach a provider in the order of the text; a later one costs an earlier one nothing."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Any

import grpc
import pytest
from support.voice_kit import NamedVoice, faults, reason_of, voice_service

from tale.storage.v1.segment_pb2 import StoredSegment
from voice_service.ports import SegmentRequest, SpeechItem
from voice_service.synthesis.store import MemorySegments

SENTENCES = [f"Number {word} went to sleep in the old mill." for word in ("one", "two", "three", "four")]
TEXT = "\n\n".join(SENTENCES)
AHEAD = len(SENTENCES) - 1


class Backwards(MemorySegments):
    """Answers the first lookups together, the last one first."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[asyncio.Event] = []

    async def find(self, keys: Collection[str], story_id: str) -> Mapping[str, StoredSegment]:
        answer = asyncio.Event()
        self._waiting.append(answer)
        if len(self._waiting) == len(SENTENCES):
            for each in reversed(self._waiting):
                each.set()
        await answer.wait()
        return await super().find(keys, story_id)


def _chosen(**more: Any) -> dict[str, Any]:
    return {"store": Backwards(), "segments_ahead": AHEAD, "segment_words": 1, **more}


async def test_segments_reach_a_provider_in_the_order_of_the_text() -> None:
    """Though their lookups are answered in reverse."""
    mock = NamedVoice("mock")
    async with voice_service(mock, **_chosen()) as voice:
        told = await voice.tell(TEXT)

    assert told.error is None
    assert SENTENCES == [request.text for request in mock.journal.requests]


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [
        ("quota", grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
        ("auth", grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_AUTH"),
        ("overload", grpc.StatusCode.UNAVAILABLE, "AUDIO_GENERATION_FAILED"),
    ],
)
async def test_what_a_later_segment_fails_at_costs_no_earlier_one(
    kind: str, code: grpc.StatusCode, reason: str
) -> None:
    """A quota that is used up closes the provider for the segments behind it, never for those before it."""
    mock = NamedVoice("mock", faults({"kind": kind, "match": "four", "times": None}))
    async with voice_service(mock, **_chosen(breaker_failures=1)) as voice:
        told = await voice.tell(TEXT)

    assert [0, 1, 2] == [segment.index for segment in told.segments]
    assert (code, reason) == reason_of(told.error)[:2]
    assert len(mock.journal.requests) == len(told.attempts)


class Narrow(NamedVoice):
    """Says who waits for it: the second call begins when the first has ended."""

    def __init__(self) -> None:
        super().__init__("mock", faults({"kind": "quota", "match": "four", "times": None}, paid=True))
        self.at_once = self.most = 0

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(0)
            async for item in super().synthesize(request):
                yield item
        finally:
            self.at_once -= 1


async def test_segments_wait_for_a_place_at_the_provider_in_the_order_of_the_text() -> None:
    """One call at a time: the last one's failure comes last."""
    narrow = Narrow()
    async with voice_service(narrow, **_chosen(paid_concurrency=1)) as voice:
        told = await voice.tell(TEXT)

    assert (1, SENTENCES) == (narrow.most, [request.text for request in narrow.journal.requests])
    assert [0, 1, 2] == [segment.index for segment in told.segments]
    assert "QUOTA_EXCEEDED" == reason_of(told.error)[1]


async def test_segments_that_are_stored_hold_up_no_other() -> None:
    """A repeated narration, with one segment that is new, calls for that one alone."""
    mock, store = NamedVoice("mock"), MemorySegments()
    async with voice_service(mock, store=store, segment_words=1) as voice:
        await voice.tell(TEXT)
        told = await voice.tell(TEXT.replace("three", "five"))

    assert told.error is None
    assert [True, True, False, True] == [segment.cached for segment in told.segments]
    assert len(SENTENCES) + 1 == mock.journal.calls
