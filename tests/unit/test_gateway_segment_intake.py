"""Segments from the voice service: only the next one is accepted."""

import asyncio

import pytest

from gateway.runs.narrator import MAX_WAITING, SegmentIntake
from servicekit.errors import DomainError
from tale.common.v1 import common_pb2


def segment(index: int, **changes: object) -> common_pb2.Segment:
    """The segment of that index: 100 bytes, 10 characters; the title has none."""
    it = common_pb2.Segment(index=index, key=f"{index:064x}")
    it.audio.start, it.audio.end = index * 100, (index + 1) * 100
    it.text.start, it.text.end = max(0, index - 1) * 10, index * 10
    it.MergeFrom(common_pb2.Segment(**changes))  # type: ignore[arg-type]
    return it


async def test_waiting_segments_are_stored_together_in_order() -> None:
    """All that have come meanwhile; nothing once the intake is closed."""
    intake = SegmentIntake(None)
    for index in range(3):
        await intake.put(segment(index))
    assert [each.index for each in await intake.take() or ()] == [0, 1, 2]
    assert intake.spoken == 20
    intake.close()
    assert await intake.take() is None


async def test_call_for_the_awaited_segment_is_stored_at_once() -> None:
    """After a kill it counts as made; calls for later segments go with the segments before them."""
    intake = SegmentIntake(segment(1))
    started = common_pb2.ATTEMPT_OUTCOME_STARTED
    intake.note_call(common_pb2.Attempt(segment_index=3, outcome=started))
    intake.note_call(common_pb2.Attempt(segment_index=2, outcome=common_pb2.ATTEMPT_OUTCOME_SUCCEEDED))
    taking = asyncio.create_task(intake.take())
    await asyncio.sleep(0)
    assert not taking.done()
    intake.note_call(common_pb2.Attempt(segment_index=2, outcome=started))
    assert await taking == []


async def test_intake_continues_after_the_last_segment() -> None:
    """The first that may come is the next one."""
    intake = SegmentIntake(segment(4))
    with pytest.raises(DomainError, match="STREAM_BROKEN"):
        await intake.put(segment(4))
    await intake.put(segment(5))


@pytest.mark.parametrize(
    "wrong",
    [
        segment(1),
        segment(0, audio=common_pb2.Span(start=1, end=100)),
        segment(0, text=common_pb2.Span(start=1, end=2)),
        common_pb2.Segment(audio=common_pb2.Span(end=10)),
        common_pb2.Segment(key="k"),
    ],
    ids=["index", "audio", "text", "no key", "no audio"],
)
async def test_segment_that_is_not_the_next_is_refused(wrong: common_pb2.Segment) -> None:
    """A gap in index, text or audio, and a segment that nothing is stored of."""
    with pytest.raises(DomainError, match="STREAM_BROKEN"):
        await SegmentIntake(None).put(wrong)


async def test_intake_waits_while_too_many_segments_are_not_stored() -> None:
    """Until they are taken."""
    intake = SegmentIntake(None)

    async def put() -> None:
        for index in range(MAX_WAITING + 1):
            await intake.put(segment(index))

    putting = asyncio.create_task(put())
    for _ in range(MAX_WAITING * 2):
        await asyncio.sleep(0)
    assert not putting.done()
    assert len(await intake.take() or ()) == MAX_WAITING
    await putting
