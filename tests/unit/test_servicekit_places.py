"""Places for what is done at a time, and messages of a stream that bring nothing."""

import asyncio
from contextlib import AsyncExitStack

import grpc
import pytest

from servicekit.context import Caller, RequestContext, bound
from servicekit.errors import DomainError
from servicekit.validation import Progress
from servicekit.waiting import Places


async def enter(places: Places, owner: str, held: AsyncExitStack) -> None:
    """Takes a place for an owner until `held` is closed."""
    with bound(RequestContext("r", Caller(owner))):
        await held.enter_async_context(places.place())


async def test_one_owner_has_its_part_of_the_places() -> None:
    """What it wants beyond is refused with a time to wait; another owner gets in meanwhile."""
    places = Places(4, each=2, seconds=0.01, refusal="Too many.")
    async with AsyncExitStack() as mine, AsyncExitStack() as others:
        for _ in range(2):
            await enter(places, "mia", mine)
        with pytest.raises(DomainError, match="Too many") as caught:
            await enter(places, "mia", mine)
        for owner in ("ben", "ada"):
            await enter(places, owner, others)
        with pytest.raises(DomainError, match="RATE_LIMITED"):
            await enter(places, "eve", others)
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.retry_after == 0.01


async def test_a_place_is_free_after_whatever_happens_in_it() -> None:
    """An error, and a caller that leaves while it waits or works; the places of an owner that is gone are forgotten."""
    places = Places(1, seconds=60, refusal="Too many.")

    async def work(may_end: asyncio.Event) -> None:
        with bound(RequestContext("r", Caller("mia"))):
            async with places.place():
                await may_end.wait()
                raise ValueError("broken")

    ends = [asyncio.Event() for _ in range(3)]
    working, leaving, last = [asyncio.create_task(work(end)) for end in ends]
    await asyncio.sleep(0)
    leaving.cancel()
    ends[0].set()
    ends[2].set()
    outcomes = await asyncio.gather(working, leaving, last, return_exceptions=True)
    assert [ValueError, asyncio.CancelledError, ValueError] == [type(each) for each in outcomes]
    working = asyncio.create_task(work(asyncio.Event()))
    await asyncio.sleep(0)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    async with AsyncExitStack() as held:
        await enter(places, "ben", held)


def test_messages_without_content_are_counted() -> None:
    """A thousand are forgiven, and one for each that has some; then the field is named."""
    progress = Progress("chunk")
    for _ in range(5_000):
        progress.count(b"")
        progress.count(b"x")
    for _ in range(1_000):
        progress.count("")
    with pytest.raises(DomainError, match="VALIDATION_FAILED") as caught:
        progress.count("")
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert ["chunk"] == [violation.field for violation in caught.value.violations]
