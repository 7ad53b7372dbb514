"""Many waits in one block, each bounded, with one timer for all of them; work that outlives its caller."""

import asyncio

import pytest

from servicekit.context import Caller, RequestContext, bound, current
from servicekit.waiting import Finisher, IdleTimeout


async def wait_for_ever(idle: IdleTimeout) -> None:
    """A block with a wait that does not end by itself."""
    async with idle:
        idle.begin()
        await asyncio.Event().wait()


async def test_a_wait_that_lasts_ends_the_block() -> None:
    """As a TimeoutError that is known for its own."""
    idle = IdleTimeout(0.01)
    with pytest.raises(TimeoutError):
        await wait_for_ever(idle)
    assert idle.lost


async def test_only_waits_are_bounded() -> None:
    """Between them the block may take as long as it likes, and so may many short waits together."""
    async with IdleTimeout(0.02) as idle:
        for _ in range(3):
            await asyncio.sleep(0.03)
            for _ in range(5):
                idle.begin()
                await asyncio.sleep(0)
                idle.end()
    assert not idle.lost


async def test_a_timeout_from_elsewhere_is_told_apart() -> None:
    """It goes on as it is."""
    idle = IdleTimeout(60)
    with pytest.raises(TimeoutError, match="another"):
        async with idle:
            raise TimeoutError("another")
    assert not idle.lost


async def test_a_wait_begins_anew_while_nothing_is_owed() -> None:
    """However often; and ends the block once something is."""
    answers = iter([False, False, True])
    idle = IdleTimeout(0.005, owing=lambda: next(answers))
    with pytest.raises(TimeoutError):
        await wait_for_ever(idle)
    assert [] == list(answers)


async def test_a_wait_that_ends_as_it_is_to_be_cut_is_not_cut() -> None:
    """What the task does after it goes on undisturbed."""
    loop = asyncio.get_running_loop()
    reached = loop.create_future()

    def owing() -> bool:
        reached.set_result(None)
        return True

    async with IdleTimeout(0.005, owing=owing) as idle:
        idle.begin()
        await reached
        idle.end()
        for _ in range(3):
            await asyncio.sleep(0)
    assert not idle.lost


async def test_who_is_cancelled_is_not_taken_for_late() -> None:
    """A cancellation from outside stays one."""
    idle = IdleTimeout(60)
    task = asyncio.create_task(wait_for_ever(idle))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not idle.lost


async def test_work_outlives_its_caller_and_its_callers_deadline() -> None:
    """What it works for it still knows: the request and the owner."""
    go = asyncio.Event()
    found: list[RequestContext] = []

    async def work() -> None:
        await go.wait()
        found.append(current())

    finisher = Finisher()
    with bound(RequestContext("r", Caller("mia"), asyncio.get_running_loop().time() + 60)):
        caller = asyncio.create_task(finisher.run(work()))
        await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    go.set()
    await finisher.settle()
    assert [("r", "mia", None)] == [(one.request_id, one.owner, one.deadline) for one in found]
