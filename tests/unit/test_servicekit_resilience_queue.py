"""The queue of a circuit breaker, in virtual time."""

import asyncio

import pytest
from support.circuits import Bench, provider_error

from servicekit.resilience import circuit_queue
from servicekit.resilience.breaker import CircuitBreaker
from servicekit.resilience.circuit_queue import WaitBudget, waiting_for
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.errors import CircuitOpenError, ProviderError, ProviderErrorKind
from standins.virtual_time import loop_time, run_virtually


def _breaker(**config: object) -> CircuitBreaker:
    return CircuitBreaker(
        BreakerConfig(**{"name": "demo", "failure_threshold": 1, **config}),  # type: ignore[arg-type]
        clock=loop_time,
        random=lambda: 0.0,
    )


def _fail(breaker: CircuitBreaker, error: ProviderError | None = None) -> None:
    with pytest.raises(ProviderError), breaker.call():
        raise error or provider_error()


async def _woken(breaker: CircuitBreaker, *, probes: bool = True, seconds: float = 10_000.0) -> float | None:
    """Returns when it was woken, None if it was not."""
    with waiting_for([breaker], probes=probes) as waiter:
        return None if await waiter.turn(seconds) is None else loop_time()


def test_only_the_first_of_the_queue_is_woken_to_probe_and_all_when_it_closes() -> None:
    """Of a thousand, one makes the probe when the window is over; its first token wakes the others."""

    async def scene() -> None:
        breaker, probes, woken = _breaker(), [], []

        async def waits(number: int) -> None:
            while True:
                with waiting_for([breaker]) as waiter:
                    await waiter.turn(1e6)
                try:
                    with breaker.call() as call:
                        if breaker.state == "half_open":
                            probes.append((number, loop_time()))
                            await asyncio.sleep(5)
                        call.answered()
                        woken.append(loop_time())
                except CircuitOpenError:
                    continue
                return

        _fail(breaker)
        async with asyncio.TaskGroup() as group:
            for number in range(1_000):
                group.create_task(waits(number))
        assert [(0, 60.0)] == probes
        assert [65.0] * 1_000 == woken
        assert 0 == breaker.snapshot().rejected_calls
        assert 0 == len(breaker.queue)

    run_virtually(scene())


def test_a_failed_probe_leaves_the_others_asleep_for_another_window() -> None:
    """Each window wakes one, in order of arrival."""

    async def scene() -> None:
        breaker = _breaker()
        _fail(breaker)
        times: list[tuple[int, float]] = []

        async def waits(number: int) -> None:
            if await _woken(breaker) is not None:
                times.append((number, loop_time()))
                _fail(breaker)

        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(waits(number))
        assert [(0, 60.0), (1, 120.0), (2, 180.0)] == times

    run_virtually(scene())


def test_one_that_makes_no_call_gives_its_turn_to_the_next() -> None:
    """After a second; a probe that says nothing about the provider gives it at once."""

    async def scene() -> None:
        breaker = _breaker()
        _fail(breaker)

        async def ignored() -> float:
            await _woken(breaker)
            _fail(breaker, provider_error(ProviderErrorKind.INVALID_INPUT))
            return loop_time()

        tasks = [asyncio.create_task(work) for work in (_woken(breaker), ignored(), _woken(breaker))]
        assert [60.0, 61.0, 61.0] == await asyncio.gather(*tasks)

    run_virtually(scene())


def test_those_whose_calls_are_no_probes_are_woken_when_it_closes() -> None:
    """Not at half-open, where the probe is made by something else."""

    async def scene() -> None:
        breaker = _breaker()
        _fail(breaker)
        task = asyncio.create_task(_woken(breaker, probes=False))
        await asyncio.sleep(100)
        assert "half_open" == breaker.state
        assert not task.done()
        with breaker.call():
            pass
        assert 100.0 == await task

    run_virtually(scene())


def test_all_are_woken_by_a_reset() -> None:
    """Without a probe."""

    async def scene() -> None:
        breaker = _breaker()
        _fail(breaker)
        asyncio.get_running_loop().call_later(30, breaker.reset)
        assert [30.0] * 5 == await asyncio.gather(*(_woken(breaker) for _ in range(5)))

    run_virtually(scene())


def test_a_longer_pause_is_waited_for_and_a_timeout_leaves_nothing_behind() -> None:
    """A Retry-After that comes while others wait moves the window; one that gives up leaves the queue."""

    async def scene() -> None:
        breaker = _breaker()
        _fail(breaker)
        asyncio.get_running_loop().call_later(10, breaker.open_until, 200)
        woken, gave_up = await asyncio.gather(_woken(breaker), _woken(breaker, seconds=100))
        assert 210.0 == woken
        assert gave_up is None
        assert 0 == len(breaker.queue)

    run_virtually(scene())


def test_a_waiter_stays_in_line_while_it_reports_that_it_waits() -> None:
    """Each heartbeat of 20 s costs it no place."""

    async def scene() -> None:
        breaker = _breaker()
        _fail(breaker)
        beats = []
        with waiting_for([breaker]) as first:
            behind = asyncio.create_task(_woken(breaker))
            while await first.turn(20) is None:
                beats.append(loop_time())
        assert [20.0, 40.0] == beats
        assert 60.0 == loop_time()
        assert 61.0 == await behind

    run_virtually(scene())


def test_the_first_of_several_circuits_ends_the_wait() -> None:
    """It is returned, and the waiter has left the queue of the other."""

    async def scene() -> None:
        slow, fast = _breaker(recovery_timeout=90), _breaker(recovery_timeout=30)
        _fail(slow)
        _fail(fast)
        with waiting_for([slow, fast]) as waiter:
            assert fast is await waiter.turn(1_000)
        assert 30.0 == loop_time()
        assert 0 == len(slow.queue)

    run_virtually(scene())


def test_a_circuit_that_lets_calls_through_is_not_waited_for() -> None:
    """It is the waiter's turn at once."""

    async def scene() -> None:
        assert 0.0 == await _woken(_breaker())
        assert 0.0 == await _woken(_breaker(), probes=False)

    run_virtually(scene())


async def test_a_stand_in_clock_moves_the_queue() -> None:
    """Whatever reads the state serves those that wait."""
    bench = Bench(failure_threshold=1)
    bench.fail()
    task = asyncio.create_task(_woken(bench.breaker))
    await asyncio.sleep(0)
    bench.clock.advance(60)
    assert "half_open" == bench.breaker.state

    assert await asyncio.wait_for(task, 5)


async def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than fit is not in line, and its turn never comes; those in front of it stay."""
    monkeypatch.setattr(circuit_queue, "_MOST_WAITING", 2)
    bench = Bench(failure_threshold=1)
    bench.fail()
    with waiting_for([bench.breaker]), waiting_for([bench.breaker]):
        with waiting_for([bench.breaker]) as waiter:
            assert not waiter.in_line
            assert await waiter.turn(0.01) is None
        assert 2 == len(bench.breaker.queue)


def test_a_budget_says_so_at_most_once_a_beat_over_all_waits() -> None:
    """At once the first time, also where a wait ends before the next notice is due."""

    async def scene() -> None:
        breaker, budget, notices = _breaker(), WaitBudget(600), []

        async def wait() -> None:
            async for circuit in budget.wait([breaker]):
                assert breaker is circuit
                notices.append(loop_time())

        for seconds in (5, 5, 25):
            breaker.open_until(seconds)
            await wait()
            assert breaker is budget.ready
        assert [0.0, 20.0] == notices
        assert 600 - 35 == budget.left

    run_virtually(scene())


@pytest.mark.parametrize("how", ["too long", "deadline", "no room", "none"])
def test_a_budget_without_hope_ends_at_once_with_nothing_left(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that is longer than what is left, or that has no place in the queue."""
    monkeypatch.setattr(circuit_queue, "_MOST_WAITING", 0 if how == "no room" else 1)

    async def scene() -> None:
        breaker = _breaker()
        breaker.open_until(300)
        budget = WaitBudget(100 if how == "too long" else 600, deadline=200 if how == "deadline" else 1_000)
        assert [] == [each async for each in budget.wait([breaker] if how != "none" else [])]
        assert budget.ready is None
        assert 0 == loop_time()
        assert 0 == budget.left

    run_virtually(scene())


def test_a_budget_ends_when_a_window_is_moved_behind_its_end() -> None:
    """At the next notice, or at its end."""

    async def scene() -> None:
        breaker, budget = _breaker(), WaitBudget(100)
        breaker.open_until(50)
        asyncio.get_running_loop().call_later(10, breaker.open_until, 500)
        assert [breaker] == [each async for each in budget.wait([breaker])]
        assert 20 == loop_time()

    run_virtually(scene())
