"""How much is asked of a provider at once, and in a minute."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.circuits import FakeClock

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.limits import FIRST, ProviderLimits, _rate


@asynccontextmanager
async def holding(limits: ProviderLimits, calls: int) -> AsyncIterator[Callable[[], None]]:
    """So many calls that have their slot within the block; the function given lets them end."""
    end = asyncio.Event()

    async def hold() -> None:
        async with limits.slot():
            await end.wait()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(calls):
            tasks.create_task(hold())
        await turns()
        yield end.set
        end.set()


async def turns() -> None:
    """Lets everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def succeed(limits: ProviderLimits, times: int) -> None:
    """So many calls that end well, one after the other."""
    for _ in range(times):
        async with limits.slot():
            pass


def soon() -> float:
    """A deadline that is here at once."""
    return asyncio.get_running_loop().time() + 0.001


async def test_no_more_calls_at_once_than_allowed() -> None:
    """Of fifty, three run at a time, and all get their turn in the order in which they came."""
    limits = ProviderLimits(3)
    running, most, order = 0, 0, []

    async def call(number: int) -> None:
        nonlocal running, most
        async with limits.slot():
            running += 1
            most = max(most, running)
            order.append(number)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(call(number) for number in range(50)))

    assert (3, list(range(50)), 0) == (most, order, limits.in_use)


async def test_a_call_waits_for_its_deadline_and_no_longer() -> None:
    """Without a slot by then it is told so, as a call too many."""
    limits = ProviderLimits(1, provider="demo")
    async with holding(limits, 1):
        with pytest.raises(ProviderError) as caught:
            async with limits.slot(soon()):
                pytest.fail("there was no room")
        assert (ProviderErrorKind.CONCURRENCY, "demo", 0) == (caught.value.kind, caught.value.provider, limits.waiting)
    await succeed(limits, 1)

    assert 0 == limits.in_use


async def test_a_free_slot_is_given_though_the_deadline_has_passed() -> None:
    """Whether there is time left for the call is the call's business."""
    limits = ProviderLimits(1)
    async with limits.slot(asyncio.get_running_loop().time() - 1):
        assert 1 == limits.in_use


async def test_a_timeout_within_is_the_callers_own() -> None:
    """What the call itself raises goes through as it is."""
    limits = ProviderLimits(1)
    with pytest.raises(TimeoutError):
        async with limits.slot(asyncio.get_running_loop().time() + 60):
            raise TimeoutError

    assert 0 == limits.in_use


async def test_who_gives_up_waiting_loses_no_slot() -> None:
    """Cancelled while it waits, and cancelled just as its turn comes: the slot goes to the next."""
    limits = ProviderLimits(1)
    async with holding(limits, 1) as end:
        waiting = [asyncio.create_task(succeed(limits, 1)) for _ in range(3)]
        await turns()
        waiting[0].cancel()
        await turns()
        assert 2 == limits.waiting
        # The slot is given to the second, which is cancelled before it can go on.
        limits._leave()
        assert 1 == limits.waiting
        waiting[1].cancel()
        await turns()
        assert (0, 0) == (limits.in_use, limits.waiting)
        limits._in_use += 1
        end()
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [True, True, False] == [isinstance(result, asyncio.CancelledError) for result in results]
    assert (0, 0) == (limits.in_use, limits.waiting)


async def test_a_crowd_of_cancellations_leaves_the_limits_whole() -> None:
    """Every other one of a hundred gives up at some moment; the others are served."""
    limits = ProviderLimits(2)

    async def call() -> bool:
        async with limits.slot():
            await asyncio.sleep(0)
        return True

    tasks = [asyncio.create_task(call()) for _ in range(100)]
    for number, task in enumerate(tasks):
        await asyncio.sleep(0)
        if number % 2:
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(result is True for result in results[::2])
    assert (0, 0) == (limits.in_use, limits.waiting)


async def test_the_queue_is_bounded() -> None:
    """One more than may wait is turned away at once."""
    limits = ProviderLimits(1, most_waiting=2)
    async with holding(limits, 3):
        with pytest.raises(ProviderError):
            async with limits.slot():
                pytest.fail("there was no room")


async def test_too_many_calls_halve_the_limit() -> None:
    """64, 32, 16 … and never below one; refusals within a second are one sign."""
    clock = FakeClock()
    limits = ProviderLimits(64, clock=clock)
    seen = []
    for _ in range(8):
        for _ in range(10):
            limits.note_too_many()
        seen.append(limits.limit)
        clock.advance(1)

    assert [32, 16, 8, 4, 2, 1, 1, 1] == seen


async def test_refusal_among_many_successes_lowers_nothing() -> None:
    """One call in fifty is repeated; the third among the last twenty halves the limit."""
    limits = ProviderLimits(64, clock=FakeClock())
    for _ in range(10):
        await succeed(limits, 50)
        limits.note_too_many()
    assert 64 == limits.limit
    await succeed(limits, 5)
    limits.note_too_many()
    assert 64 == limits.limit
    await succeed(limits, 5)
    limits.note_too_many()
    assert 32 == limits.limit


async def test_success_gives_it_back_slowly() -> None:
    """About as many successes as the limit is high raise it by one, up to what is configured."""
    limits = ProviderLimits(8)
    limits.note_too_many()
    await succeed(limits, 4)
    assert 4 == limits.limit
    await succeed(limits, 1)
    assert 5 == limits.limit
    await succeed(limits, 100)

    assert 8 == limits.limit


async def test_failure_gives_nothing_back() -> None:
    """Only calls that end well speak for room."""
    limits = ProviderLimits(8)
    limits.note_too_many()
    for _ in range(100):
        with pytest.raises(ValueError, match="ours"):
            async with limits.slot():
                raise ValueError("ours")

    assert 4 == limits.limit


async def test_a_lowered_limit_holds_for_who_waits() -> None:
    """Of four calls that run three must end before the next begins."""
    limits = ProviderLimits(4)
    gate = asyncio.Queue[None]()

    async def call() -> None:
        async with limits.slot():
            await gate.get()

    tasks = [asyncio.create_task(call()) for _ in range(5)]
    await turns()
    limits.note_too_many()
    gate.put_nowait(None)
    gate.put_nowait(None)
    await turns()
    assert (2, 1) == (limits.in_use, limits.waiting)
    gate.put_nowait(None)
    await turns()
    assert (2, 0) == (limits.in_use, limits.waiting)
    gate.put_nowait(None)
    gate.put_nowait(None)

    await asyncio.gather(*tasks)


async def test_requests_a_minute_are_bounded() -> None:
    """The second request of a provider that takes one a minute does not wait past its deadline, and frees its slot."""
    limits = ProviderLimits(5, 1.0)
    await succeed(limits, 1)
    with pytest.raises(ProviderError) as caught:
        async with limits.slot(soon()):
            pytest.fail("there was no room")

    assert (ProviderErrorKind.CONCURRENCY, 0) == (caught.value.kind, limits.in_use)


async def test_requests_are_paced_in_order() -> None:
    """Those that wait for the minute are served as they came."""
    limits = ProviderLimits(50, 60_000.0)
    limits._rate = _rate(6_000_000.0)
    order: list[int] = []

    async def call(number: int) -> None:
        async with limits.slot():
            order.append(number)

    await asyncio.gather(*(call(number) for number in range(50)))

    assert list(range(50)) == order


@given(st.floats(min_value=0.01, max_value=1e6))
def test_no_minute_sees_more_than_allowed(per_minute: float) -> None:
    """The burst and what is let through in a minute come to no more than the allowance, or to the one that must be."""
    bucket = _rate(per_minute)
    in_a_minute = bucket.max_rate + 60 * bucket.max_rate / bucket.time_period

    assert in_a_minute <= max(per_minute, 1 + min(per_minute, 2.0)) * (1 + 1e-9)


@pytest.mark.parametrize(("concurrency", "per_minute"), [(0, None), (-1, None), (1, 0.0), (1, -5.0)])
def test_limits_without_sense_are_refused(concurrency: int, per_minute: float | None) -> None:
    """Nothing would ever be let through."""
    with pytest.raises(ValueError, match="at least 1"):
        ProviderLimits(concurrency, per_minute)


async def test_those_that_wait_are_served_by_their_order() -> None:
    """The lowest first, first come first served among equals; FIRST goes before all."""
    limits, served = ProviderLimits(1), list[str]()

    async def call(name: str, order: float) -> None:
        async with limits.slot(order=order):
            served.append(name)

    async with holding(limits, 1) as end:
        waiting = []
        for name, order in [("c", 3.0), ("a", 1.0), ("b", 1.0), ("left", 0.5), ("hedge", FIRST), ("d", 3.0)]:
            waiting.append(asyncio.create_task(call(name, order)))
            await turns()
        waiting[3].cancel()
        await turns()
        end()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert ["hedge", "a", "b", "c", "d"] == served


async def test_a_ramp_begins_at_one_and_grows_with_each_answer() -> None:
    """Never above its ceiling; a call that ends without an answer changes nothing; lifted, it holds nothing back."""
    ramp = ProviderLimits(3, ramped=True)
    await succeed(ramp, 5)
    seen = [ramp.limit]
    for _ in range(3):
        ramp.note_answered()
        seen.append(ramp.limit)
    assert [1, 2, 3, 3] == seen

    other = ProviderLimits(3, ramped=True)
    async with holding(other, 1) as end:
        waiting = asyncio.create_task(succeed(other, 1))
        await turns()
        assert 1 == other.waiting
        other.lift()
        await waiting
        end()
