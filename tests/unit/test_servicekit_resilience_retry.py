"""When calls are made again, and what a provider says of when."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support.circuits import FakeClock, provider_error

from servicekit.errors import provider_failed
from servicekit.resilience.errors import TREATMENTS, CircuitOpenError, ProviderError, ProviderErrorKind, wait_asked
from servicekit.resilience.retry import RetryBudget, RetryPolicy
from servicekit.status import to_grpc_status

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class Upstream:
    """Fails with the errors given, one after the other, then answers; writes down the waits between."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.waits: list[float] = []

    async def call(self) -> str:
        """The next error, or "done"."""
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def sleep(self, seconds: float) -> None:
        """Does not."""
        self.waits.append(seconds)

    async def asked(self, policy: RetryPolicy, *, random: float = 1.0, **options: Any) -> str:
        """Calls under `policy`; the jitter is all of the wait unless `random` says so."""
        done: str = await policy.attempts(sleep=self.sleep, random=lambda: random, **options)(self.call)
        return done


def failures(times: int, **options: Any) -> list[ProviderError]:
    """So many errors that may pass."""
    return [provider_error(**options) for _ in range(times)]


async def test_what_may_pass_is_tried_again() -> None:
    """Three retries after the first attempt, waits doubling."""
    upstream = Upstream(*failures(3))

    assert "done" == await upstream.asked(RetryPolicy(retries=3, delay=1.0, backoff=2.0, longest_wait=30.0))
    assert [1.0, 2.0, 4.0] == upstream.waits


async def test_attempts_are_bounded_and_the_last_error_is_raised() -> None:
    """Of four errors the fourth is what the caller sees."""
    errors = failures(4)
    upstream = Upstream(*errors)
    with pytest.raises(ProviderError) as caught:
        await upstream.asked(RetryPolicy(retries=3))

    assert (errors[3], 4) == (caught.value, upstream.calls)


@pytest.mark.parametrize(
    "error",
    [
        *[provider_error(kind) for kind in ProviderErrorKind if not TREATMENTS[kind].retry],
        CircuitOpenError("models", provider="demo", retry_after=1.0),
        ValueError("ours"),
        asyncio.CancelledError(),
    ],
    ids=str,
)
async def test_what_will_not_pass_is_not_tried_again(error: BaseException) -> None:
    """A wrong key makes exactly one call; so does a refused text, an open circuit, a defect, a cancellation."""
    upstream = Upstream(error)
    with pytest.raises(type(error)):
        await upstream.asked(RetryPolicy(retries=3))

    assert 1 == upstream.calls


@pytest.mark.parametrize("random", [0.0, 0.25, 0.999])
async def test_waits_are_jittered_from_nothing_to_all(random: float) -> None:
    """Full jitter: callers that failed together do not come back together."""
    upstream = Upstream(*failures(2))
    await upstream.asked(RetryPolicy(retries=2, delay=1.0), random=random)

    assert [random, 2 * random] == upstream.waits


async def test_no_wait_is_longer_than_the_longest() -> None:
    """Growth ends there, and does not overflow."""
    upstream = Upstream(*failures(200))
    await upstream.asked(RetryPolicy(retries=200, delay=1.0, backoff=1e10, longest_wait=10.0))

    assert {1.0, 10.0} == set(upstream.waits)


@pytest.mark.parametrize(("random", "expected"), [(0.0, 8.0), (0.5, 8.4), (1.0, 8.8)])
async def test_a_provider_that_names_a_wait_gets_it(random: float, expected: float) -> None:
    """And up to a tenth more, so that not all who were told the same come at once."""
    upstream = Upstream(*failures(1, kind=ProviderErrorKind.RATE, retry_after=8.0))
    await upstream.asked(RetryPolicy(longest_wait=10.0), random=random)

    assert [pytest.approx(expected)] == upstream.waits


async def test_a_wait_that_is_none_does_not_end_the_backoff() -> None:
    """Retry-After: 0, again and again, is answered by waits that grow."""
    upstream = Upstream(*failures(3, kind=ProviderErrorKind.RATE, retry_after=0.0))
    await upstream.asked(RetryPolicy(retries=3, delay=1.0, backoff=2.0))

    assert [1.0, 2.0, 4.0] == upstream.waits


async def test_a_provider_that_asks_for_too_long_is_not_asked_again() -> None:
    """The caller goes to another one at once."""
    upstream = Upstream(*failures(1, kind=ProviderErrorKind.RATE, retry_after=10.1))
    with pytest.raises(ProviderError):
        await upstream.asked(RetryPolicy(longest_wait=10.0))

    assert (1, []) == (upstream.calls, upstream.waits)


async def test_no_wait_goes_past_the_deadline() -> None:
    """It fails at once instead of waiting for nothing."""
    now = asyncio.get_running_loop().time()
    short = Upstream(*failures(1, kind=ProviderErrorKind.RATE, retry_after=100.0))
    with pytest.raises(ProviderError):
        await short.asked(RetryPolicy(longest_wait=1000.0), deadline=now + 99.0)
    long = Upstream(*failures(1, kind=ProviderErrorKind.RATE, retry_after=100.0))
    await long.asked(RetryPolicy(longest_wait=1000.0), deadline=now + 1000.0)

    assert [] == short.waits
    assert [pytest.approx(110.0)] == long.waits


async def test_a_caller_may_refuse_to_wait() -> None:
    """Where there is another provider, a rate limit is no reason to wait."""
    upstream = Upstream(provider_error(), provider_error(ProviderErrorKind.RATE, retry_after=1.0))
    with pytest.raises(ProviderError):
        await upstream.asked(RetryPolicy(), may_wait=lambda error: error.kind is not ProviderErrorKind.RATE)

    assert 2 == upstream.calls


async def test_retries_are_told() -> None:
    """The error, the attempt that failed, and the wait; by default they are logged, without the error's text."""
    told: list[tuple[ProviderErrorKind, int, float]] = []
    await Upstream(*failures(2)).asked(
        RetryPolicy(delay=1.0), on_retry=lambda *each: told.append((each[0].kind, *each[1:]))
    )
    with capture_logs() as logs:
        await Upstream(*failures(1)).asked(RetryPolicy(delay=1.0))

    assert [(ProviderErrorKind.TIMEOUT, 1, 1.0), (ProviderErrorKind.TIMEOUT, 2, 2.0)] == told
    assert [
        {
            "event": "call retried",
            "log_level": "warning",
            "provider": "demo",
            "kind": "timeout",
            "attempt": 1,
            "wait_seconds": 1.0,
        }
    ] == logs


async def test_attempts_can_be_iterated() -> None:
    """For calls that are streams, which no decorator repeats."""
    upstream = Upstream(*failures(1))
    async for attempt in RetryPolicy().attempts(sleep=upstream.sleep):
        with attempt:
            await upstream.call()

    assert 2 == upstream.calls


async def test_an_empty_budget_ends_the_retries() -> None:
    """An outage is not multiplied: of a thousand requests that fail, few are repeated."""
    clock = FakeClock()
    budget = RetryBudget(ratio=0.2, minimum_per_second=0.0, cap=10.0, clock=clock)
    calls = 0
    for _ in range(1000):
        upstream = Upstream(*failures(4))
        with pytest.raises(ProviderError):
            await upstream.asked(RetryPolicy(retries=3), budget=budget)
        calls += upstream.calls

    assert 1000 + 10 + 199 <= calls <= 1000 + 10 + 200


async def test_a_budget_fills_with_time() -> None:
    """A provider that is asked rarely can be called again all the same; up to the cap."""
    clock = FakeClock()
    budget = RetryBudget(ratio=0.0, minimum_per_second=0.5, cap=2.0, clock=clock)
    assert [True, True, False] == [budget.spend() for _ in range(3)]
    clock.advance(2)
    assert [True, False] == [budget.spend() for _ in range(2)]
    clock.advance(1000)

    assert 2.0 == budget.tokens


async def test_success_spends_nothing() -> None:
    """Only repeats do."""
    budget = RetryBudget(ratio=0.2, minimum_per_second=0.0, cap=5.0)
    for _ in range(10):
        await Upstream().asked(RetryPolicy(), budget=budget)

    assert 5.0 == budget.tokens


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Sunday, 01-Mar-26 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Sun Mar  1 12:00:30 2026"}, 30.0),
        ({"Retry-After": "Sun, 01 Mar 2026 13:00:30 +0100"}, 30.0),
        ({"Retry-After": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
        ({"X-RateLimit-Reset": "45"}, 45.0),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 20)}, 20.0),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp() * 1000) + 2500)}, 2.5),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) - 20)}, 0.0),
        ({"Retry-After": "3", "X-RateLimit-Reset": "45"}, 3.0),
        ({"Retry-After": "soon", "X-RateLimit-Reset": "45"}, 45.0),
        ({"Retry-After": "99999999999999999999"}, 86_400.0),
        ({"Retry-After": "Sun, 01 Mar 2099 12:00:30 GMT"}, 86_400.0),
        ({"X-RateLimit-Reset": "99999999999999"}, 86_400.0),
        ({}, None),
        *[
            ({"Retry-After": wrong}, None)
            for wrong in (
                "",
                "soon",
                "-1",
                "nan",
                "inf",
                "99 bottles",
                "Sun, 99 Mar 2026",
                "1e300",
                "1_000",
                "١٢",
                "9" * 400,
            )
        ],
        *[({"X-RateLimit-Reset": wrong}, None) for wrong in ("", "6m0s", "-5", "nan")],
    ],
)
def test_headers_say_when(headers: dict[str, str], expected: float | None) -> None:
    """Retry-After as seconds or any of the three HTTP dates; without it X-RateLimit-Reset in its three habits."""
    assert (None if expected is None else pytest.approx(expected)) == wait_asked(headers, NOW)


@given(st.text(), st.text())
def test_no_header_breaks_it(first: str, second: str) -> None:
    """Whatever a server sends, the answer is a wait or none."""
    wait = wait_asked({"Retry-After": first, "X-RateLimit-Reset": second}, NOW)

    assert wait is None or 0 <= wait <= 86_400


def test_a_reset_is_a_wait_only_where_a_rate_was_too_high() -> None:
    """Many send it with every answer; Retry-After counts always."""
    headers = {"X-RateLimit-Reset": "45"}

    assert None is wait_asked(headers, NOW, rate_limited=False)
    assert 3.0 == wait_asked({**headers, "Retry-After": "3"}, NOW, rate_limited=False)


@given(st.floats(0, allow_nan=False, allow_infinity=False))
def test_any_wait_can_be_told_to_the_caller(seconds: float) -> None:
    """However large a number a server writes."""
    wait = wait_asked({"Retry-After": f"{seconds:.3f}"})
    error = ProviderError(ProviderErrorKind.RATE, "it failed", provider="demo", retry_after=wait)

    assert "demo: it failed." == to_grpc_status(provider_failed(error)).details


def test_the_present_time_is_the_default() -> None:
    """A date of last year has passed."""
    assert 0.0 == wait_asked({"Retry-After": "Wed, 01 Jan 2025 00:00:00 GMT"})
