"""A second call for one that is late: which of the two is used, and when a call is late."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from servicekit.resilience.breaker import CircuitBreaker
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.hedging import Hedge, Racer, ResponseTimes, race
from servicekit.resilience.limits import ProviderLimits
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import Attempt, OutgoingCalls
from servicekit.resilience.retry import RetryPolicy
from standins.virtual_time import loop_time, run_virtually

LATE = 2.0


def _failure() -> ProviderError:
    return ProviderError(ProviderErrorKind.OVERLOAD, "it failed", provider="demo")


class Run:
    """Two scripted calls: each has seconds to be sent, to its first byte and to its end, or fails after some."""

    def __init__(self, *calls: dict[str, float]) -> None:
        self._calls = calls
        self.ended: list[str] = []

    async def make(self, racer: Racer, second: bool) -> str:
        name, call = ("second", self._calls[1]) if second else ("first", self._calls[0])
        try:
            await asyncio.sleep(call.get("sent", 0.0))
            racer.sent()
            if "fails" in call:
                await asyncio.sleep(call["fails"])
                raise _failure()
            await asyncio.sleep(call["begins"])
            racer.answered()
            await asyncio.sleep(call.get("lasts", 1.0))
        except asyncio.CancelledError:
            self.ended.append(f"{name} cancelled at {loop_time():g}")
            raise
        self.ended.append(f"{name} at {loop_time():g}")
        return name

    def race(self, *, allowed: bool = True) -> str:
        """Runs it; a call is late after two seconds."""
        return run_virtually(race(self.make, Hedge(times=ResponseTimes(LATE)), lambda: allowed))


@pytest.mark.parametrize(
    ("calls", "used", "ended"),
    [
        (({"begins": 1, "lasts": 9},), "first", ["first at 10"]),
        (({"begins": 60}, {"begins": 1}), "second", ["first cancelled at 3", "second at 4"]),
        (({"begins": 3, "lasts": 5}, {"begins": 4}), "first", ["second cancelled at 3", "first at 8"]),
        (({"begins": 3}, {"begins": 1, "sent": 9}), "first", ["second cancelled at 3", "first at 4"]),
        (({"fails": 3}, {"begins": 5}), "second", ["second at 8"]),
        (({"begins": 9}, {"fails": 1}), "first", ["first at 10"]),
    ],
)
def test_the_call_that_begins_first_is_used(calls: tuple[dict[str, float], ...], used: str, ended: list[str]) -> None:
    """The other is cancelled at once; one that fails leaves it to the other."""
    run = Run(*calls)

    assert used == run.race()
    assert ended == run.ended


def test_a_failure_does_not_wait_for_a_second_call_that_was_not_made() -> None:
    """It is retried as usual."""
    run = Run({"fails": 3}, {"begins": 1, "sent": 60})
    with pytest.raises(ProviderError):
        run.race()

    assert ["second cancelled at 3"] == run.ended


def test_no_second_call_is_made_where_none_is_allowed() -> None:
    """The first one has all its time."""
    run = Run({"begins": 20})

    assert "first" == run.race(allowed=False)


def test_a_caller_that_leaves_ends_both_calls() -> None:
    """When it is told so, they have ended."""
    run = Run({"begins": 60}, {"begins": 60})

    async def leave() -> None:
        async with asyncio.timeout(5):
            await race(run.make, Hedge(times=ResponseTimes(LATE)), lambda: True)

    with pytest.raises(TimeoutError):
        run_virtually(leave())
    assert ["first cancelled at 5", "second cancelled at 5"] == run.ended


@pytest.mark.parametrize(
    ("seconds", "late"),
    [
        ([1.0] * 19, 10.0),
        ([1.0] * 20, 1.0),
        ([0.1] * 20, 0.5),
        ([1.0] * 94 + [7.0] * 6, 7.0),
        ([1.0] * 96 + [7.0] * 4, 1.0),
    ],
)
def test_a_call_is_late_after_the_time_in_which_nineteen_of_twenty_begin(seconds: list[float], late: float) -> None:
    """Half a second at least; a given time until twenty are known."""
    times = ResponseTimes(10.0)
    for each in seconds:
        times.add(each)

    assert late == times.late


def _calls(*, retries: int = 2, concurrency: int = 5) -> tuple[OutgoingCalls, CircuitBreaker]:
    breakers = BreakerManager(lambda name: BreakerConfig(name=name))
    limits = ProviderLimits(concurrency, provider="demo")
    calls = OutgoingCalls("demo", breakers=breakers, policy=RetryPolicy(retries=retries, delay=0), limits=limits)
    return calls, breakers.get("demo")


def _stalled(times: int) -> tuple[Callable[[Attempt], Coroutine[Any, Any, int]], list[float]]:
    """A call that stalls for 30 s and fails, so many times, and then answers after a second; and when calls began."""
    began: list[float] = []

    async def work(attempt: Attempt) -> int:
        began.append(loop_time())
        number = len(began)
        if number <= times:
            await asyncio.sleep(30)
            raise ProviderError(ProviderErrorKind.TIMEOUT, "no answer", provider="demo")
        await asyncio.sleep(1)
        attempt.answered()
        return number

    return work, began


def test_a_second_call_is_one_of_the_tries() -> None:
    """A stall of all calls makes three in all, and the cancelled ones do not speak against the provider."""
    calls, breaker = _calls()
    work, began = _stalled(9)
    hedge = Hedge(times=ResponseTimes(LATE))
    with pytest.raises(ProviderError):
        run_virtually(calls.call("speak", work, hedge=hedge))

    assert 3 == len(began)
    assert [0.0, 2.0] == began[:2]
    assert 3 == breaker.snapshot().failed_calls


def test_the_call_that_is_cancelled_says_nothing_of_the_provider() -> None:
    """One success, and one call that is not counted."""
    calls, breaker = _calls()
    work, began = _stalled(1)

    assert 2 == run_virtually(calls.call("speak", work, hedge=Hedge(times=ResponseTimes(LATE))))
    assert [0.0, 2.0] == began
    snapshot = breaker.snapshot()
    assert 0 == snapshot.failed_calls
    assert 1 == snapshot.successful_calls
    assert 1 == snapshot.ignored_calls


def test_no_second_call_is_made_where_none_may_be_retried() -> None:
    """With no retries there is one call."""
    calls, _ = _calls(retries=0)
    work, began = _stalled(9)
    with pytest.raises(ProviderError):
        run_virtually(calls.call("speak", work, hedge=Hedge(times=ResponseTimes(LATE))))

    assert [0.0] == began


def test_second_calls_are_within_the_retry_budget() -> None:
    """Of 100 stalled calls at once, as many have a second one as the budget allows."""
    calls, _ = _calls(concurrency=160)
    seconds = 0

    async def work(attempt: Attempt) -> None:
        del attempt
        await asyncio.sleep(30)

    def second() -> None:
        nonlocal seconds
        seconds += 1

    async def all_at_once() -> None:
        hedge = Hedge(times=ResponseTimes(LATE), on_second=second)
        await asyncio.gather(*(calls.call("speak", work, hedge=hedge) for _ in range(100)))

    run_virtually(all_at_once())
    assert 45 <= seconds <= 60
