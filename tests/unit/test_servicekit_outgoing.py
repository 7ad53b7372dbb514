"""What a call to a provider passes on its way, and what it leaves in log and metrics."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
from structlog.testing import capture_logs
from support.circuits import FakeClock, provider_error

from servicekit.context import Caller, RequestContext, bound
from servicekit.metrics import Metrics
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.errors import CircuitOpenError, ProviderError, ProviderErrorKind
from servicekit.resilience.limits import ProviderLimits
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import Attempt, AuditLog, OutgoingCalls
from servicekit.resilience.retry import RetryBudget, RetryPolicy
from servicekit.waiting import Finisher
from standins.virtual_time import loop_time, run_virtually

SOON = RetryPolicy(retries=2, delay=0.001)
SLOW = RetryPolicy(retries=20, delay=60.0, longest_wait=60.0)


class Provider:
    """Fails with the errors given, then answers 42; counts its calls."""

    def __init__(self, *errors: ProviderError) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.called = asyncio.Event()

    async def __call__(self, attempt: Attempt) -> int:
        """The next error, or 42."""
        self.calls += 1
        self.called.set()
        attempt.ids["request_id"] = f"r-{self.calls}"
        if self.errors:
            raise self.errors.pop(0)
        return 42


def outgoing(policy: RetryPolicy = SOON, *, threshold: int = 5, limits: ProviderLimits | None = None) -> OutgoingCalls:
    """Calls to "demo"."""
    breakers = BreakerManager(lambda name: BreakerConfig(name=name, failure_threshold=threshold))
    return OutgoingCalls("demo", breakers=breakers, policy=policy, limits=limits)


async def test_each_attempt_leaves_one_audit_line_and_one_count() -> None:
    """With its endpoint, status and id; a retry is a warning."""
    metrics = Metrics()
    audit = AuditLog(metrics, prefix="demo")
    calls = OutgoingCalls("demo", breakers=BreakerManager(), policy=SOON, audit=audit)
    with capture_logs() as logs:
        assert 42 == await calls.call("things", Provider(provider_error(ProviderErrorKind.OVERLOAD)))
    audited = [line for line in logs if line["event"] == "upstream call"]
    assert ["OVERLOAD", 200] == [line["status"] for line in audited]
    assert ["things", "things"] == [line["endpoint"] for line in audited]
    assert "r-2" == audited[1]["upstream_request_id"]
    assert ["warning"] == [line["log_level"] for line in logs if line["event"] == "call retried"]
    labels = {"endpoint": "things", "status": "200"}
    assert 1 == metrics.registry.get_sample_value("demo_api_calls_total", labels)


async def test_exhausted_call_is_one_error_in_the_log() -> None:
    """The error of the last attempt is raised."""
    provider = Provider(*[provider_error() for _ in range(3)])
    with capture_logs() as logs, pytest.raises(ProviderError):
        await outgoing().call("things", provider)
    assert 3 == provider.calls
    assert ["all attempts failed"] == [line["event"] for line in logs if line["log_level"] == "error"]


async def test_refusal_is_neither_repeated_nor_an_error_in_the_log() -> None:
    """It is the caller's to change."""
    provider = Provider(provider_error(ProviderErrorKind.INVALID_INPUT))
    with capture_logs() as logs, pytest.raises(ProviderError):
        await outgoing().call("things", provider)
    assert 1 == provider.calls
    assert [] == [line for line in logs if line["log_level"] == "error"]


async def test_first_cause_is_raised_where_the_circuit_opened_afterwards() -> None:
    """The next call is not made at all."""
    calls, provider = outgoing(threshold=2), Provider(*[provider_error() for _ in range(9)])
    with pytest.raises(ProviderError) as caught:
        await calls.call("things", provider)
    assert ProviderErrorKind.TIMEOUT is caught.value.kind
    assert 2 == provider.calls
    with pytest.raises(CircuitOpenError):
        await calls.call("things", provider)
    assert 2 == provider.calls


@pytest.mark.parametrize("finished", [True, False])
async def test_caller_that_leaves_ends_the_retries(finished: bool) -> None:
    """At once: there is no attempt after the one that had begun."""
    provider = Provider(*[provider_error() for _ in range(9)])
    task = asyncio.create_task(outgoing(SLOW).call("things", provider, finished=finished))
    await provider.called.wait()
    task.cancel()
    async with asyncio.timeout(20):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert 1 == provider.calls


@pytest.mark.parametrize(("finished", "ends"), [(True, "done"), (False, "cut")])
async def test_attempt_that_has_begun_is_finished_where_asked(finished: bool, ends: str) -> None:
    """Without its caller; `settle` waits for it."""
    calls, go, begun, ended = outgoing(), asyncio.Event(), asyncio.Event(), []

    async def work(_: Attempt) -> None:
        begun.set()
        try:
            await go.wait()
        except asyncio.CancelledError:
            ended.append("cut")
            raise
        ended.append("done")

    task = asyncio.create_task(calls.call("things", work, finished=finished))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    go.set()
    await calls.settle()
    assert [ends] == ended


async def test_no_retry_begins_after_the_deadline_of_the_request() -> None:
    """The caller would not get its result."""
    provider = Provider(*[provider_error() for _ in range(9)])
    deadline = asyncio.get_running_loop().time() + 0.1
    with bound(RequestContext("r", Caller("o"), deadline)), pytest.raises(ProviderError):
        await outgoing(RetryPolicy(retries=9, delay=60.0, longest_wait=60.0)).call("things", provider)
    assert provider.calls < 9
    assert asyncio.get_running_loop().time() <= deadline + 0.1


async def test_work_that_outlives_its_caller_is_retried_after_the_deadline_of_the_caller() -> None:
    """Those who joined it get its result."""
    provider = Provider(provider_error())
    calls = outgoing(RetryPolicy(retries=1, delay=0.01))
    with bound(RequestContext("r", Caller("o"), asyncio.get_running_loop().time() - 1)):
        assert 42 == await Finisher().run(calls.call("things", provider, finished=True))


async def test_call_that_waits_for_its_turn_is_not_made_after_its_caller_has_left() -> None:
    """Also where an attempt that has begun would be finished."""
    limits = ProviderLimits(1, provider="demo")
    calls, go, provider = outgoing(limits=limits), asyncio.Event(), Provider()
    first = asyncio.create_task(calls.call("things", lambda _: go.wait()))
    await asyncio.sleep(0)
    queued = asyncio.create_task(calls.call("things", provider, finished=True))
    await asyncio.sleep(0.01)
    assert 1 == limits.waiting
    queued.cancel()
    await asyncio.wait([queued])
    go.set()
    await first
    await calls.settle()
    assert 0 == provider.calls
    assert 0 == limits.in_use


@pytest.mark.parametrize("limits", [None, ProviderLimits(1, provider="demo")])
async def test_no_attempt_begins_after_its_deadline(limits: ProviderLimits | None) -> None:
    """The caller would not get its result."""
    provider = Provider()
    with pytest.raises(ProviderError) as caught:
        await outgoing(limits=limits).call("things", provider, deadline=asyncio.get_running_loop().time() - 1)
    assert 0 == provider.calls
    assert ProviderErrorKind.TIMEOUT is caught.value.kind


async def test_attempt_ends_at_its_deadline_and_says_nothing_of_the_provider() -> None:
    """One call; the circuit stays closed."""
    breakers = BreakerManager(lambda name: BreakerConfig(name=name, failure_threshold=1))
    calls = OutgoingCalls("demo", breakers=breakers, policy=SOON)
    deadline = asyncio.get_running_loop().time() + 0.05
    async with asyncio.timeout(5):
        with pytest.raises(ProviderError) as caught:
            await calls.call("things", lambda _: asyncio.Event().wait(), deadline=deadline)
    assert ProviderErrorKind.TIMEOUT is caught.value.kind
    assert "closed" == breakers.get("demo").state


async def test_attempt_that_is_finished_passes_its_deadline() -> None:
    """What has been sent is not left half done."""
    loop = asyncio.get_running_loop()

    async def work(_: Attempt) -> int:
        await asyncio.sleep(0.1)
        return 42

    assert 42 == await outgoing().call("things", work, deadline=loop.time() + 0.05, finished=True)


async def test_first_cause_is_raised_where_there_was_no_room_afterwards() -> None:
    """No call was made then, so it says nothing."""
    limits, go = ProviderLimits(1, provider="demo", most_waiting=0), asyncio.Event()
    calls, others = outgoing(limits=limits), list[asyncio.Task[bool]]()

    async def work(_: Attempt) -> None:
        if not others:
            asyncio.get_running_loop().call_soon(
                lambda: others.append(asyncio.create_task(calls.call("other", lambda _: go.wait())))
            )
        raise provider_error(ProviderErrorKind.OVERLOAD)

    with pytest.raises(ProviderError) as caught:
        await calls.call("things", work)
    go.set()
    await asyncio.gather(*others)
    assert ProviderErrorKind.OVERLOAD is caught.value.kind


async def test_provider_that_has_too_many_calls_gets_fewer_at_once() -> None:
    """Half as many; a call waits for its turn."""
    limits = ProviderLimits(4, provider="demo")
    with pytest.raises(ProviderError):
        await outgoing(RetryPolicy(retries=0), limits=limits).call(
            "things", Provider(provider_error(ProviderErrorKind.CONCURRENCY))
        )
    assert 2 == limits.limit


async def test_stream_is_one_attempt_and_its_first_token_closes_the_circuit() -> None:
    """A probe does not have to last to the end of the stream."""
    now = [0.0]
    breakers = BreakerManager(lambda name: BreakerConfig(name=name, failure_threshold=1), clock=lambda: now[0])
    calls = OutgoingCalls("demo", breakers=breakers, policy=SOON)
    with pytest.raises(ProviderError):
        await calls.call("things", Provider(provider_error()))
    now[0] = 100.0
    async with calls.attempt("stream") as attempt:
        assert "half_open" == breakers.get("demo").state
        attempt.answered()
        assert "closed" == breakers.get("demo").state


async def test_cancelled_attempt_is_audited_as_cancelled() -> None:
    """It says nothing of the provider."""
    calls, begun = outgoing(), asyncio.Event()

    async def hang() -> None:
        async with calls.attempt("stream"):
            begun.set()
            await asyncio.Event().wait()

    with capture_logs() as logs:
        task = asyncio.create_task(hang())
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
    assert ["CANCELLED"] == [line["status"] for line in logs if line["event"] == "upstream call"]


async def test_attempt_released_early_makes_room() -> None:
    """What is left to do after the answer needs no place among the calls at once."""
    limits = ProviderLimits(1)
    calls = OutgoingCalls("demo", breakers=BreakerManager(), policy=SOON, limits=limits)

    async def work(attempt: Attempt) -> int:
        await attempt.release()
        return limits.in_use

    assert 0 == await calls.call("say", work)


async def test_within_is_entered_in_the_limits_and_before_the_breaker() -> None:
    """A wait there is no call."""
    limits = ProviderLimits(1)
    breakers = BreakerManager()
    calls = OutgoingCalls("demo", breakers=breakers, policy=SOON, limits=limits)
    seen: list[tuple[int, int]] = []

    @asynccontextmanager
    async def within() -> AsyncIterator[None]:
        seen.append((limits.in_use, breakers.get("demo").in_flight))
        yield

    async def work(attempt: Attempt) -> None:
        del attempt
        seen.append((limits.in_use, breakers.get("demo").in_flight))

    await calls.call("say", work, within=within)

    assert [(1, 0), (1, 1)] == seen


def test_circuit_that_was_open_is_slowed_and_not_flooded() -> None:
    """After the probe fifty calls come at once: one, then one more with each answer, then as many as usual."""

    async def scene() -> None:
        breakers = BreakerManager(clock=loop_time, random=lambda: 0.0)
        limits = ProviderLimits(8, provider="demo")
        calls = OutgoingCalls("demo", breakers=breakers, policy=SOON, limits=limits)
        with pytest.raises(ProviderError):
            await calls.call("things", Provider(provider_error(ProviderErrorKind.QUOTA, retry_after=30)))
        await asyncio.sleep(30)
        with breakers.get("demo").call():
            pass
        at_once: dict[float, int] = {}

        async def call(number: int) -> None:
            async with calls.attempt("stream", order=number) as attempt:
                at_once[loop_time()] = at_once.get(loop_time(), 0) + 1
                await asyncio.sleep(1)
                attempt.answered()
                await asyncio.sleep(9)

        await asyncio.gather(*(call(number) for number in range(20)))
        assert {30.0: 1, 31.0: 1, 32.0: 1} == {when: begun for when, begun in at_once.items() if when <= 32}
        assert max(at_once.values()) <= 8
        assert breakers.get("demo").ramp is None

    run_virtually(scene())


def test_ramp_holds_up_none_when_the_circuit_opens_again() -> None:
    """Those that wait in it are refused at once."""

    async def scene() -> None:
        breakers = BreakerManager(clock=loop_time)
        breaker = breakers.get("demo")
        calls = OutgoingCalls("demo", breakers=breakers, policy=SOON)
        breaker.open_until(10)
        await asyncio.sleep(10)
        with breaker.call():
            pass

        async def call() -> float:
            with pytest.raises(CircuitOpenError):
                async with calls.attempt("stream"):
                    pytest.fail("the circuit is open")
            return loop_time()

        async with calls.attempt("stream"):
            waiting = [asyncio.create_task(call()) for _ in range(5)]
            await asyncio.sleep(5)
            breaker.open_until(10)
            assert [15.0] * 5 == await asyncio.gather(*waiting)

    run_virtually(scene())


@pytest.mark.parametrize("kind", [ProviderErrorKind.RATE, ProviderErrorKind.CONCURRENCY])
async def test_call_whose_tries_all_are_refused_for_the_pace_opens_the_circuit(kind: ProviderErrorKind) -> None:
    """For a window at least, and the next caller is told the rate limit."""
    breakers = BreakerManager(
        lambda name: BreakerConfig(name=name, opens_when_refused=True), clock=FakeClock(), random=lambda: 0.0
    )
    calls = OutgoingCalls("demo", breakers=breakers, policy=SOON)
    provider = Provider(*[provider_error(kind)] * 3)
    for _ in range(2):
        with pytest.raises(ProviderError) as refused:
            await calls.call("things", provider)
        assert "RATE_LIMITED" == refused.value.treatment.reason
    assert 3 == provider.calls
    assert ("open", 60.0) == (breakers.get("demo").state, breakers.get("demo").retry_after)


async def test_refusals_open_no_circuit_whose_callers_cannot_wait() -> None:
    """A store that is slowed down for a moment is used again at once."""
    breakers = BreakerManager()
    calls = OutgoingCalls("demo", breakers=breakers, policy=SOON)
    with pytest.raises(ProviderError):
        await calls.call("things", Provider(*[provider_error(ProviderErrorKind.RATE)] * 3))
    assert "closed" == breakers.get("demo").state


async def test_call_that_is_refused_for_the_pace_while_others_are_answered_opens_nothing() -> None:
    """Others get through, so there is no reason to wait."""
    breakers = BreakerManager(lambda name: BreakerConfig(name=name, opens_when_refused=True))
    calls = OutgoingCalls("demo", breakers=breakers, policy=SOON)

    async def refused(attempt: Attempt) -> None:
        del attempt
        await calls.call("things", Provider())
        raise provider_error(ProviderErrorKind.RATE)

    with pytest.raises(ProviderError):
        await calls.call("things", refused)
    assert "closed" == breakers.get("demo").state


async def test_one_refusal_for_the_pace_opens_nothing() -> None:
    """Nor does one after which no retry is made, nor the own limits."""
    breakers = BreakerManager()
    limits = ProviderLimits(1)
    calls = OutgoingCalls("demo", breakers=breakers, policy=SOON, limits=limits)
    await calls.call("things", Provider(provider_error(ProviderErrorKind.RATE)))
    with pytest.raises(ProviderError):
        await calls.call("things", Provider(provider_error(ProviderErrorKind.RATE)), may_repeat=lambda _: False)
    async with limits.slot():
        with pytest.raises(ProviderError):
            await calls.call("things", Provider(), deadline=0.0)
    assert "closed" == breakers.get("demo").state


async def test_retries_of_a_provider_that_fails_one_call_in_five_are_within_the_budget() -> None:
    """For ever, even where time gives no tokens."""
    clock = FakeClock()
    budget, dice = RetryBudget(minimum_per_second=0.0, clock=clock), Random(5)
    refused = 0
    for _ in range(20_000):
        budget.earn()
        for _ in range(3):
            if dice.random() >= 0.2:
                break
            refused += not budget.spend()

    assert 0 == refused
