"""A circuit breaker, step by step."""

import asyncio
from contextlib import ExitStack
from datetime import timedelta
from heapq import heappop, heappush
from math import inf, nan
from random import Random

import pytest
from support.circuits import BEGIN, Bench, provider_error

from servicekit.resilience.breaker import Call, _Window
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.errors import TREATMENTS, CircuitOpenError, ProviderErrorKind


def test_it_opens_on_failures_in_a_row() -> None:
    """The fifth failure opens it, and the next call is not made."""
    bench = Bench(failure_threshold=5)
    bench.fail(4)
    assert "closed" == bench.breaker.state
    bench.fail()
    with pytest.raises(CircuitOpenError) as caught:
        bench.call()

    assert ("open", "demo", "demo", 60.0) == (
        bench.breaker.state,
        caught.value.name,
        caught.value.provider,
        caught.value.retry_after,
    )
    assert (5, 5, 1) == (
        bench.breaker.snapshot().total_calls,
        bench.breaker.snapshot().failed_calls,
        bench.breaker.snapshot().rejected_calls,
    )


def test_a_success_between_failures_begins_the_row_anew() -> None:
    """Five failures with a success among them do not open it."""
    bench = Bench(failure_threshold=5)
    bench.fail(4)
    bench.call()
    bench.fail(4)

    assert "closed" == bench.breaker.state


@pytest.mark.parametrize("kind", [kind for kind in ProviderErrorKind if not TREATMENTS[kind].break_circuit])
def test_errors_that_are_no_fault_of_the_provider_never_open_it(kind: ProviderErrorKind) -> None:
    """A wrong key, a refused text, a client error: a hundred of them say nothing, and do not end a row of failures."""
    bench = Bench(failure_threshold=2)
    bench.fail()
    for _ in range(100):
        bench.call(provider_error(kind))
    assert ("closed", 100) == (bench.breaker.state, bench.breaker.snapshot().ignored_calls)
    bench.fail()

    assert "open" == bench.breaker.state


@pytest.mark.parametrize("kind", [kind for kind in ProviderErrorKind if TREATMENTS[kind].break_circuit])
def test_errors_that_speak_against_the_provider_open_it(kind: ProviderErrorKind) -> None:
    """Whatever the table of treatments counts."""
    bench = Bench(failure_threshold=2)
    bench.call(provider_error(kind))
    bench.call(provider_error(kind))

    assert "open" == bench.breaker.state


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit(), KeyboardInterrupt(), ValueError("ours")])
def test_cancellations_and_our_own_mistakes_never_open_it(error: BaseException) -> None:
    """Who goes away says nothing of the provider; neither does a defect of ours."""
    bench = Bench(failure_threshold=1, minimum_calls=1)
    for _ in range(10):
        bench.call(error)

    assert ("closed", 10, 0) == (
        bench.breaker.state,
        bench.breaker.snapshot().ignored_calls,
        bench.breaker.snapshot().failed_calls,
    )


def test_which_exceptions_count_is_configurable() -> None:
    """`expected_exception` is what counts, `exclude_exceptions` is taken out of it."""
    bench = Bench(failure_threshold=1, expected_exception=OSError, exclude_exceptions=(FileNotFoundError,))
    bench.call(ValueError())
    bench.call(FileNotFoundError())
    bench.call(provider_error())
    assert "closed" == bench.breaker.state
    bench.call(PermissionError())

    assert [("closed", "open")] == bench.changes


def test_a_group_of_errors_counts_once() -> None:
    """A task group's error speaks against the provider where one of its members does."""
    bench = Bench(failure_threshold=2)
    bench.call(BaseExceptionGroup("", [ValueError(), asyncio.CancelledError()]))
    bench.call(ExceptionGroup("", [provider_error(), provider_error()]))
    assert ("closed", 1) == (bench.breaker.state, bench.breaker.snapshot().failed_calls)
    bench.call(ExceptionGroup("", [provider_error(ProviderErrorKind.RATE, retry_after=7), ValueError()]))

    assert ("open", 7.0) == (bench.breaker.state, bench.breaker.retry_after)


def test_a_burst_on_a_half_open_circuit_gets_one_call_through() -> None:
    """Of fifty calls at once one is admitted; the others are told when to come back."""
    bench = Bench(failure_threshold=1)
    bench.fail()
    bench.clock.advance(60)
    admitted, refused = [], []
    with ExitStack() as stack:
        for _ in range(50):
            try:
                admitted.append(stack.enter_context(bench.breaker.call()))
            except CircuitOpenError as error:
                refused.append(error.retry_after)
        assert "half_open" == bench.breaker.state
    assert (1, [1.0] * 49) == (len(admitted), refused)
    assert [("closed", "open"), ("open", "half_open"), ("half_open", "closed")] == bench.changes


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), GeneratorExit(), provider_error(ProviderErrorKind.INVALID_INPUT)]
)
def test_an_ignored_probe_makes_room_for_the_next(error: BaseException) -> None:
    """A probe that is cancelled, or refused for its text, neither closes nor opens the circuit."""
    bench = Bench(failure_threshold=1)
    bench.fail()
    bench.clock.advance(60)
    bench.call(error)
    assert ("half_open", 0.0) == (bench.breaker.state, bench.breaker.retry_after)
    bench.call()

    assert "closed" == bench.breaker.state


def test_each_failed_probe_opens_it_for_the_same_time() -> None:
    """One probe a window, however long the outage takes."""
    bench = Bench(failure_threshold=1)
    bench.fail()
    waits = []
    for _ in range(1000):
        waits.append(bench.breaker.retry_after)
        bench.clock.advance(waits[-1])
        bench.fail()

    assert [60.0] * 1000 == waits


def test_recovery_is_jittered() -> None:
    """Replicas do not all come back at the same moment."""
    bench = Bench(failure_threshold=1, jitter=0.1, random=0.5)
    bench.fail()

    assert pytest.approx(63.0) == bench.breaker.retry_after


def _several(bench: Bench, outcomes: str) -> None:
    """Calls that are in flight together: F fails, S succeeds, a dot does not end."""
    flights = [(bench.begin(), outcome) for outcome in outcomes]
    for flight, outcome in flights:
        if outcome != ".":
            bench.end(flight, provider_error() if outcome == "F" else None)


def test_failures_in_a_row_need_a_failure_rate_among_many_calls() -> None:
    """Five in a row of ten open it where half have failed, and not before."""
    bench = Bench(failure_threshold=5)
    for _ in range(6):
        bench.call()
    bench.fail(5)
    assert "closed" == bench.breaker.state
    bench.fail()

    assert [("closed", "open")] == bench.changes


def test_a_failure_rate_needs_failures_in_a_row() -> None:
    """Every second call failing, never two in a row, is for retries to absorb."""
    bench = Bench(failure_threshold=5)
    for _ in range(500):
        bench.fail()
        bench.call()

    assert [] == bench.changes


def test_calls_in_flight_may_still_succeed() -> None:
    """Of fifty sent together twenty fail first: the other thirty count until they have ended."""
    bench = Bench(failure_threshold=3)
    _several(bench, "F" * 20 + "S" * 30)
    assert [] == bench.changes
    _several(bench, "F" * 49 + ".")

    assert [("closed", "open")] == bench.changes


def test_few_calls_that_fail_together_are_one_failure() -> None:
    """Three rounds of parallel failures are three in a row."""
    bench = Bench(failure_threshold=3, minimum_calls=10)
    _several(bench, "FFFF")
    _several(bench, "FFFF")
    assert ("closed", 8) == (bench.breaker.state, bench.breaker.snapshot().consecutive_failures)
    bench.fail()

    assert "open" == bench.breaker.state


def test_a_provider_that_was_well_need_not_fail_as_often_as_it_succeeded() -> None:
    """Ten failures without an answer open it, after a hundred successes and while old streams still end well."""
    bench = Bench(failure_threshold=5)
    _several(bench, "S" * 100)
    streams = [bench.begin() for _ in range(40)]
    for stream in streams:
        stream.answered()
    for stream in streams[:9]:
        bench.fail()
        bench.end(stream)
    assert [] == bench.changes
    bench.fail()

    assert [("closed", "open")] == bench.changes


def test_an_answer_between_failures_says_that_the_provider_is_there() -> None:
    """Nine failures for each first token leave a long list of successes standing."""
    bench = Bench(failure_threshold=5)
    _several(bench, "S" * 500)
    for _ in range(20):
        bench.fail(9)
        bench.begin().answered()

    assert [] == bench.changes


def test_calls_that_wait_for_their_answer_may_still_get_one() -> None:
    """Two dozen failures among as many unanswered calls do not open it."""
    bench = Bench(failure_threshold=5)
    _several(bench, "S" * 100)
    _several(bench, "F" * 24 + "." * 25)

    assert [] == bench.changes


@pytest.mark.parametrize("threshold", [3, 5])
@pytest.mark.parametrize("parallel", [10, 50, 200])
def test_a_fifth_failing_never_opens_it(threshold: int, parallel: int) -> None:
    """However many are in flight: failures return at once or after half a minute, successes after eight seconds."""
    bench, dice = Bench(failure_threshold=threshold), Random(parallel)
    flights: list[tuple[float, int, Call]] = []
    for number in range(20_000):
        if len(flights) >= parallel:
            end, _, call = heappop(flights)
            bench.clock.seconds = max(bench.clock.seconds, end)
            bench.end(call, provider_error() if end - call.began != 8.0 else None)
        took = dice.choices([8.0, 0.2, 30.0], [80, 15, 5])[0]
        heappush(flights, (bench.clock() + took, number, bench.begin()))

    assert [] == bench.changes


def test_the_rate_is_of_the_last_minute() -> None:
    """What failed before the window says nothing any more."""
    bench = Bench(failure_threshold=50, minimum_calls=20, window_seconds=60)
    bench.fail(19)
    bench.clock.advance(61)
    bench.fail()

    assert "closed" == bench.breaker.state


def test_it_opens_on_slow_calls() -> None:
    """Sixteen of twenty successes took two seconds to their first token."""
    bench = Bench(slow_call_seconds=2.0, minimum_calls=20)
    for _ in range(4):
        bench.call(first_token=0.1, end=0.2)
    for _ in range(15):
        bench.call(first_token=2.0, end=2.0)
    assert "closed" == bench.breaker.state
    bench.call(first_token=2.0, end=2.0)

    assert ("open", 16, 20) == (
        bench.breaker.state,
        bench.breaker.snapshot().slow_calls,
        bench.breaker.snapshot().successful_calls,
    )


def test_a_long_stream_is_not_slow() -> None:
    """Slow is measured to the first token, not to the end; to the end where no token was marked."""
    bench = Bench(slow_call_seconds=2.0, window_seconds=6000)
    for _ in range(30):
        bench.call(first_token=0.5, end=60.0)
    assert ("closed", 0) == (bench.breaker.state, bench.breaker.snapshot().slow_calls)
    bench.call(end=2.5)

    assert 1 == bench.breaker.snapshot().slow_calls


def test_a_later_token_is_not_the_first() -> None:
    """Only the first mark counts."""
    bench = Bench(slow_call_seconds=2.0)
    with bench.breaker.call() as call:
        call.answered()
        bench.clock.advance(5)
        call.answered()

    assert 0 == bench.breaker.snapshot().slow_calls


def test_a_slow_probe_opens_it_again() -> None:
    """A provider that is back but slow is not back."""
    bench = Bench(failure_threshold=1, slow_call_seconds=2.0)
    bench.fail()
    bench.clock.advance(60)
    bench.call(first_token=3.0, end=3.0)

    assert ("open", 60.0) == (bench.breaker.state, bench.breaker.retry_after)


def test_it_stays_open_as_long_as_the_provider_asks() -> None:
    """A 429 with Retry-After opens a closed circuit for just that long."""
    bench = Bench()
    bench.call(provider_error(ProviderErrorKind.RATE, retry_after=30))
    assert ("open", 30.0, 0) == (
        bench.breaker.state,
        bench.breaker.retry_after,
        bench.breaker.snapshot().failed_calls,
    )
    bench.clock.advance(30)

    assert "half_open" == bench.breaker.state
    assert [("closed", "open"), ("open", "half_open")] == bench.changes


def test_short_wait_of_a_retryable_failure_opens_nothing() -> None:
    """The retry waits it out; a longer wait, and one that no retry follows, open the circuit."""
    bench = Bench(shortest_cooldown=10.0)
    bench.call(provider_error(ProviderErrorKind.RATE, retry_after=10))
    assert "closed" == bench.breaker.state
    bench.call(provider_error(ProviderErrorKind.QUOTA, retry_after=10))

    assert 10.0 == bench.breaker.retry_after


@pytest.mark.parametrize("named", [None, 1.0, 90.0])
def test_probe_that_is_refused_for_the_pace_opens_it_for_a_window_at_least(named: float | None) -> None:
    """One probe a window, and its error names the rate limit, whatever opened the circuit."""
    bench = Bench(failure_threshold=1)
    bench.fail()
    bench.clock.advance(60)
    bench.call(provider_error(ProviderErrorKind.RATE, retry_after=named))
    with pytest.raises(CircuitOpenError) as refused:
        bench.call()

    assert ("RATE_LIMITED", max(named or 0.0, 60.0)) == (refused.value.treatment.reason, bench.breaker.retry_after)
    assert 1 == bench.breaker.snapshot().failed_calls


def test_refusals_for_the_pace_without_an_answer_open_it_after_a_while_whatever_the_tries() -> None:
    """Five seconds of them, of calls that have a fallback; one answer, or a minute without any, begins anew."""
    bench, error = Bench(opens_when_refused=True), provider_error(ProviderErrorKind.CONCURRENCY)

    def refused(*, after: float = 0.0) -> str:
        bench.clock.advance(after)
        answers = bench.breaker.answers
        bench.call(error)
        bench.breaker.tries_ended(error, answers=answers, used_up=False)
        return bench.breaker.state

    assert ["closed", "closed"] == [refused(), refused(after=4.0)]
    bench.call()
    assert ["closed", "closed", "closed"] == [refused(after=4.0), refused(after=61.0), refused(after=4.0)]
    assert "open" == refused(after=1.0)
    assert 60.0 == bench.breaker.retry_after


@pytest.mark.parametrize(
    ("cause", "reason", "kind"),
    [
        (ProviderErrorKind.QUOTA, "QUOTA_EXCEEDED", ProviderErrorKind.QUOTA),
        (ProviderErrorKind.RATE, "RATE_LIMITED", ProviderErrorKind.RATE),
        (ProviderErrorKind.OVERLOAD, "CIRCUIT_OPEN", ProviderErrorKind.OVERLOAD),
    ],
)
def test_the_telling_error_wins(cause: ProviderErrorKind, reason: str, kind: ProviderErrorKind) -> None:
    """A used-up quota and a rate limit are what an open circuit reports, also where failures follow."""
    bench = Bench(failure_threshold=1)
    late = bench.begin()
    bench.call(provider_error(cause, retry_after=90))
    bench.end(late, TimeoutError())
    with pytest.raises(CircuitOpenError) as refused:
        bench.call()

    assert (reason, kind, cause, 90.0) == (
        refused.value.treatment.reason,
        refused.value.kind,
        refused.value.cause,
        refused.value.retry_after,
    )
    assert not refused.value.retryable


def test_an_open_circuit_names_what_opened_it() -> None:
    """The last of the failures; the reason is that of an open circuit."""
    bench = Bench(failure_threshold=2)
    bench.fail()
    bench.call(provider_error(ProviderErrorKind.TRANSPORT))
    with pytest.raises(CircuitOpenError) as refused:
        bench.call()

    assert ProviderErrorKind.TRANSPORT is refused.value.cause
    assert "CIRCUIT_OPEN" == refused.value.treatment.reason


def test_the_first_token_of_a_probe_closes_the_circuit() -> None:
    """Others need not wait for the end of a long stream; how the probe ends counts as any other call's end."""
    bench = Bench(failure_threshold=2)
    bench.fail(2)
    bench.clock.advance(60)
    probe = bench.begin()
    assert not bench.admits()
    probe.answered()
    assert "closed" == bench.breaker.state
    others = [bench.begin() for _ in range(49)]
    bench.end(probe, provider_error())
    assert ("closed", 1) == (bench.breaker.state, bench.breaker.snapshot().consecutive_failures)
    for flight in others[:25]:
        bench.end(flight, provider_error())

    assert ("open", 60.0) == (bench.breaker.state, bench.breaker.retry_after)


def test_a_probe_that_answers_slowly_opens_it_there_and_then() -> None:
    """At the first token, and only once."""
    bench = Bench(failure_threshold=1, slow_call_seconds=2.0)
    bench.fail()
    bench.clock.advance(60)
    probe = bench.begin()
    bench.clock.advance(3)
    probe.answered()
    assert ("open", 60.0) == (bench.breaker.state, bench.breaker.retry_after)
    bench.end(probe, provider_error())

    assert ("open", 60.0) == (bench.breaker.state, bench.breaker.retry_after)


def test_a_shorter_cooldown_never_shortens_a_longer_one() -> None:
    """Neither a later Retry-After nor a late failure lets calls through earlier."""
    bench = Bench(failure_threshold=1)
    late = bench.begin()
    bench.breaker.open_until(300)
    bench.breaker.open_until(10)
    bench.end(late, TimeoutError())
    assert 300.0 == bench.breaker.retry_after
    bench.breaker.open_until(400)

    assert 400.0 == bench.breaker.retry_after


def test_a_failure_that_names_a_wait_waits_for_the_longer_of_the_two() -> None:
    """An overloaded provider that says 5 s is left alone for the recovery time once it has failed often enough."""
    bench = Bench(failure_threshold=2)
    bench.call(provider_error(ProviderErrorKind.OVERLOAD, retry_after=5))
    assert 5.0 == bench.breaker.retry_after
    bench.clock.advance(5)
    bench.call(provider_error(ProviderErrorKind.OVERLOAD, retry_after=5))

    assert 60.0 == bench.breaker.retry_after


@pytest.mark.parametrize("seconds", [0, -1, nan, -inf])
def test_a_wait_that_is_none_opens_nothing(seconds: float) -> None:
    """Retry-After: 0 lets the next call through."""
    bench = Bench()
    bench.breaker.open_until(seconds)

    assert "closed" == bench.breaker.state


def test_a_provider_can_not_close_itself_off_for_ever() -> None:
    """An endless Retry-After is cut to an hour."""
    bench = Bench()
    bench.breaker.open_until(inf)

    assert 3600.0 == bench.breaker.retry_after


def test_calls_from_before_do_not_decide() -> None:
    """What was sent while the circuit was closed neither closes nor opens a half-open one; it is only counted."""
    bench = Bench(failure_threshold=1)
    good, bad = bench.begin(), bench.begin()
    bench.fail()
    bench.clock.advance(60)
    assert "half_open" == bench.breaker.state
    bench.end(bad, TimeoutError())
    bench.end(good)

    assert ("half_open", 1, 2) == (
        bench.breaker.state,
        bench.breaker.snapshot().successful_calls,
        bench.breaker.snapshot().failed_calls,
    )


def test_a_probe_that_outlives_its_time_keeps_the_permit() -> None:
    """Cooled down while the probe is out, the circuit sends no second one before the first has ended."""
    bench = Bench(failure_threshold=1)
    bench.fail()
    bench.clock.advance(60)
    with bench.breaker.call():
        bench.breaker.open_until(10)
        bench.clock.advance(10)
        assert ("half_open", False) == (bench.breaker.state, bench.admits())
    assert ("half_open", True) == (bench.breaker.state, bench.admits())


@pytest.mark.parametrize("waited", [0, 60])
def test_it_is_reset_by_hand(waited: float) -> None:
    """Open or half-open, it closes at once and forgets the row; the counts stay."""
    bench = Bench(failure_threshold=2)
    bench.fail(2)
    bench.clock.advance(waited)
    assert "closed" != bench.breaker.state
    bench.breaker.reset()
    bench.fail()

    assert ("closed", 3, 1) == (
        bench.breaker.state,
        bench.breaker.snapshot().failed_calls,
        bench.breaker.snapshot().consecutive_failures,
    )


def test_a_reset_forgets_what_a_closed_circuit_held_against_the_provider() -> None:
    """The row begins again, and calls that were in flight say nothing any more."""
    bench = Bench(failure_threshold=2)
    bench.fail()
    before = bench.begin()
    bench.breaker.reset()
    bench.end(before, TimeoutError())
    bench.fail()

    assert ("closed", 1) == (bench.breaker.state, bench.breaker.snapshot().consecutive_failures)


def test_a_snapshot_tells_all() -> None:
    """Counts, times, rate and when a probe may come."""
    bench = Bench(failure_threshold=2)
    bench.call()
    bench.clock.advance(5)
    bench.fail(2)
    bench.breaker.count_fallback()
    told = bench.breaker.snapshot()

    assert ("open", 3, 1, 2, 1, 1, 0) == (
        told.state,
        told.total_calls,
        told.successful_calls,
        told.failed_calls,
        told.fallback_calls,
        told.state_changes,
        told.in_flight,
    )
    assert pytest.approx(1 / 3) == told.success_rate
    assert (BEGIN, BEGIN + timedelta(seconds=5), BEGIN + timedelta(seconds=65)) == (
        told.last_success_time,
        told.last_failure_time,
        told.retry_time,
    )


async def test_a_stream_whose_reader_leaves_releases_the_probe() -> None:
    """Closing the generator around a call counts as a cancellation."""
    bench = Bench(failure_threshold=1)
    bench.fail()
    bench.clock.advance(60)

    async def words() -> object:
        with bench.breaker.call():
            yield "no word yet"

    stream = words()
    assert "no word yet" == await anext(stream)  # type: ignore[call-overload]
    assert not bench.admits()
    await stream.aclose()  # type: ignore[attr-defined]

    assert bench.admits()


def test_a_call_is_made_once() -> None:
    """Entering the same call again is a mistake, not a second permit."""
    bench = Bench()
    call = bench.breaker.call()
    with call:
        pass
    with pytest.raises(RuntimeError, match="once"), call:
        pass

    assert (1, Call) == (bench.breaker.snapshot().total_calls, type(call))


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"failure_threshold": 0}, {"recovery_timeout": 0.0}, {"failure_rate": 1.5}, {"jitter": -1}],
)
def test_a_configuration_without_sense_is_refused(wrong: dict[str, object]) -> None:
    """The field that is wrong is named."""
    with pytest.raises(ValueError, match=r"name|failure_threshold|recovery_timeout|failure_rate|jitter"):
        BreakerConfig(**{"name": "demo", **wrong})  # type: ignore[arg-type]


def test_the_window_takes_the_same_memory_whatever_comes() -> None:
    """A hundred thousand calls are a handful of sums."""
    window = _Window(60)
    for each in range(100_000):
        window.add(each / 100, failed=each % 2 == 0, slow=False)

    assert 10 == len(window._slices)
    assert 0.5 == window.total(999.99)["failed"] / window.total(999.99)["calls"]
