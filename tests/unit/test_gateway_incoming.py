"""What the voice service sends is put together in order, and taken to be kept as it comes."""

import asyncio
import hashlib
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.incoming import MAX_WAITING, Incoming
from gateway.spool import Spool, SpoolBudget
from servicekit.errors import DomainError
from tale.common.v1 import common_pb2


def segments(*ends: int) -> list[common_pb2.Segment]:
    """Segments whose audio, all zeros, ends at `ends`."""
    return [
        common_pb2.Segment(
            index=index,
            audio=common_pb2.Span(start=start, end=end),
            text=common_pb2.Span(start=start, end=end),
            sha256=hashlib.sha256(bytes(end - start)).digest(),
        )
        for index, (start, end) in enumerate(pairwise((0, *ends)))
    ]


async def spool(folder: Path) -> Spool:
    """A spool with room for the tests."""
    return await Spool.open(folder, SpoolBudget(1_000_000), expected_bytes=1_000)


async def bring(incoming: Incoming, segment: common_pb2.Segment, to: Spool) -> None:
    """Announces a segment and sends it in one piece."""
    incoming.announce(segment)
    incoming.add(segment.audio.start, bytes(segment.audio.end - segment.audio.start))
    await incoming.settle(to)


async def test_a_segment_in_pieces_is_taken_once_it_is_whole(tmp_path: Path) -> None:
    """Half a segment is neither in the spool nor to be kept."""
    incoming, to = Incoming((), []), await spool(tmp_path)
    (segment,) = segments(6)
    incoming.announce(segment)
    incoming.add(0, bytes(4))
    await incoming.settle(to)
    assert (True, 0) == (incoming.unfinished, to.size)
    incoming.add(4, bytes(2))
    await incoming.settle(to)
    assert [segment] == await incoming.take()
    assert (False, 6, 6) == (incoming.unfinished, to.size, incoming.spoken)
    to.close()


async def test_what_comes_while_nobody_takes_is_taken_together(tmp_path: Path) -> None:
    """In order, and nothing after the end."""
    incoming, to = Incoming((), []), await spool(tmp_path)
    brought = segments(3, 5, 9)
    for segment in brought:
        await bring(incoming, segment, to)
    incoming.close()
    assert brought == await incoming.take()
    assert [] == await incoming.take()
    to.close()


async def test_segments_that_wait_are_bounded(tmp_path: Path) -> None:
    """Whoever brings more waits until some are taken."""
    incoming, to = Incoming((), []), await spool(tmp_path)
    brought = segments(*range(1, MAX_WAITING + 2))
    for segment in brought[: MAX_WAITING - 1]:
        await bring(incoming, segment, to)
    last = asyncio.create_task(bring(incoming, brought[MAX_WAITING - 1], to))
    done, _ = await asyncio.wait({last}, timeout=0.05)
    assert set() == done
    assert brought[:MAX_WAITING] == await incoming.take()
    await last
    to.close()


@pytest.mark.parametrize("known", [True, False])
async def test_a_leg_goes_on_after_what_is_released(tmp_path: Path, *, known: bool) -> None:
    """The first segment of a leg follows the last one that is durable, whether or not it was known before."""
    first, second = segments(3, 5)
    incoming, to = Incoming([first], [first, second] if known else [first]), await spool(tmp_path)
    await to.append(bytes(3), sha256=first.sha256)
    await bring(incoming, second, to)
    assert [second] == await incoming.take()
    to.close()


@pytest.mark.parametrize(
    "wrong",
    [
        common_pb2.Segment(index=2, audio=common_pb2.Span(start=3, end=5)),
        common_pb2.Segment(index=1, audio=common_pb2.Span(start=4, end=5)),
        common_pb2.Segment(index=1, audio=common_pb2.Span(start=3, end=2)),
        common_pb2.Segment(index=1, audio=common_pb2.Span(start=3, end=5), sha256=b"another"),
    ],
)
def test_a_segment_that_can_not_be_the_next_is_refused(wrong: common_pb2.Segment) -> None:
    """By its index, by its place, or by a hash that is not the one in the book."""
    book = segments(3, 5)
    with pytest.raises(DomainError, match="out of order"):
        Incoming(book[:1], book).announce(wrong)


def test_a_segment_within_another_is_refused() -> None:
    """The one before it has to be whole."""
    first, second = segments(3, 5)
    incoming = Incoming((), [])
    incoming.announce(first)
    with pytest.raises(DomainError, match="out of order"):
        incoming.announce(second)


@pytest.mark.parametrize("offset", [0, 2, 4])
def test_bytes_out_of_order_are_refused(offset: int) -> None:
    """Twice, too far on, or of no segment at all."""
    incoming = Incoming((), [])
    (first,) = segments(9)
    if offset:
        incoming.announce(first)
        incoming.add(0, bytes(3))
    with pytest.raises(DomainError, match="audio out of order"):
        incoming.add(offset, b"x")


async def test_bytes_that_are_not_those_announced_are_refused(tmp_path: Path) -> None:
    """Their hash says so, and nothing of them is kept."""
    incoming, to = Incoming((), []), await spool(tmp_path)
    (segment,) = segments(3)
    incoming.announce(segment)
    incoming.add(0, b"xyz")
    with pytest.raises(DomainError, match="not the one that it announced"):
        await incoming.settle(to)
    incoming.close()
    assert ([], 0) == (await incoming.take(), to.size)
    to.close()
