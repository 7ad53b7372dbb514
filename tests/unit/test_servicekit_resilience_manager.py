"""Circuit breakers by name, and read-only calls under them."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.circuits import FakeClock, provider_error

from servicekit.health import circuit_status
from servicekit.ops import report
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.errors import CircuitOpenError, ProviderError, ProviderErrorKind
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.protect import Answer
from servicekit.resilience.retry import RetryPolicy
from tale.common.v1 import status_pb2


class Models:
    """An upstream that answers as it is told: with a value, or by raising."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def list(self, kind: str = "all") -> object:
        """The next answer; the last one again and again."""
        self.asked.append(kind)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def manager(clock: FakeClock | None = None, **config: Any) -> BreakerManager:
    """A manager whose breakers all have that configuration."""
    clock = clock or FakeClock()

    def configured(name: str) -> BreakerConfig:
        return BreakerConfig(name=name, **config)

    return BreakerManager(configured, clock=clock, now=clock.now, random=lambda: 0.0)


def fail(breakers: BreakerManager, name: str, times: int) -> None:
    """So many failures of that breaker."""
    for _ in range(times):
        call = breakers.get(name).call().__enter__()
        error = TimeoutError()
        call.__exit__(TimeoutError, error, None)


NO_WAIT = RetryPolicy(retries=2, delay=0.0)


def test_a_name_is_a_breaker() -> None:
    """The same name gives the same one, with the provider that was named first."""
    breakers = manager()

    assert breakers.get("models", provider="demo") is breakers.get("models")
    assert "demo" == breakers.get("models").config.provider
    assert breakers.get("models") is not breakers.get("voices")


def test_configuration_goes_by_name() -> None:
    """A mapping configures those that it names; the others have the defaults."""
    breakers = BreakerManager({"voices": BreakerConfig(name="voices", failure_threshold=3, recovery_timeout=30)})

    assert (3, 30, 5, 60) == (
        breakers.get("voices").config.failure_threshold,
        breakers.get("voices").config.recovery_timeout,
        breakers.get("models").config.failure_threshold,
        breakers.get("models").config.recovery_timeout,
    )


def test_breakers_are_bounded() -> None:
    """One too many takes the place of the longest unused one that is closed; open ones stay."""
    breakers = BreakerManager(most=3)
    fail(breakers, "a", 5)
    for name in ("b", "c", "b", "d", "e"):
        breakers.get(name)

    assert ["a", "d", "e"] == [snapshot.name for snapshot in breakers.snapshots()]


def test_what_is_open_or_in_use_is_never_thrown_out() -> None:
    """The bound holds all the same: what there is no room for still works, and is not kept."""
    clock = FakeClock()
    breakers = BreakerManager(most=3, clock=clock)
    fail(breakers, "open", 5)
    in_use = breakers.get("in use")
    with in_use.call():
        fail(breakers, "open too", 5)
        for number in range(100):
            fail(breakers, f"other-{number}", 5)
        assert in_use is breakers.get("in use")
        assert ["open", "open"] == [breakers.get(name).state for name in ("open", "open too")]
    assert 3 == len(breakers.snapshots())
    clock.advance(70)
    with breakers.get("new").call():
        breakers.get("newer")
        breakers.get("newest")

    assert ["new", "newest", "open too"] == [snapshot.name for snapshot in breakers.snapshots()]


def test_those_that_are_listed_have_room_whatever_comes() -> None:
    """Callers who name many models do not make it forget the configured ones."""
    breakers = BreakerManager(most=3, listed=["a", "b"])
    breakers.get("a")
    for number in range(10):
        fail(breakers, f"other-{number}", 5)
    fail(breakers, "b", 5)
    for number in range(10):
        breakers.get(f"more-{number}")

    assert ["a", "b", "other-0", "other-1", "other-2"] == [snapshot.name for snapshot in breakers.snapshots()]
    assert "open" == breakers.get("b").state


def test_changes_are_logged() -> None:
    """Opening is a warning, the rest is told as it happens."""
    clock = FakeClock()
    breakers = manager(clock)
    with capture_logs() as logs:
        fail(breakers, "models", 5)
        clock.advance(60)
        with breakers.get("models").call():
            pass

    assert [("warning", "closed", "open"), ("info", "open", "half_open"), ("info", "half_open", "closed")] == [
        (line["log_level"], line["before"], line["after"]) for line in logs if line["event"] == "circuit changed"
    ]


def test_statuses_are_what_the_contract_says() -> None:
    """State, counts and times, as StatusService tells them."""
    clock = FakeClock()
    breakers = manager(clock)
    fail(breakers, "models", 5)
    clock.advance(1)
    expected = status_pb2.CircuitStatus(
        name="models",
        state=status_pb2.CIRCUIT_STATE_OPEN,
        total_calls=5,
        failed_calls=5,
        state_changes=1,
        consecutive_failures=5,
    )
    clock.advance(-1)
    expected.last_failure_time.FromDatetime(clock.now())
    clock.advance(60)
    expected.retry_time.FromDatetime(clock.now())
    clock.advance(-59)

    assert [expected] == [circuit_status(each) for each in breakers.snapshots()]


def test_a_circuit_is_reset_by_name() -> None:
    """The answer is the circuit as it is then; an unknown one is a KeyError."""
    breakers = manager()
    fail(breakers, "models", 5)
    assert "closed" == breakers.reset("models").state
    with pytest.raises(KeyError):
        breakers.reset("model")
    assert "closed" == breakers.get("models").state


def test_the_report_of_no_breaker() -> None:
    """Healthy, and zeros."""
    expected: dict[str, object] = {
        "healthy": True,
        "total_breakers": 0,
        "healthy_breakers": 0,
        "open_circuits": [],
        "open_circuits_count": 0,
        "unreachable_services": [],
        "metrics": {},
    }

    assert expected == report(map(circuit_status, BreakerManager().snapshots()))


def test_the_report_tells_of_each_breaker() -> None:
    """One open, one closed that failed once in four calls."""
    clock = FakeClock()
    breakers = manager(clock)
    fail(breakers, "models", 5)
    fail(breakers, "voices", 1)
    for _ in range(3):
        with breakers.get("voices", provider="speech").call():
            pass
    told = report(map(circuit_status, breakers.snapshots()))

    assert (False, 2, 1, ["models"], 1) == (
        told["healthy"],
        told["total_breakers"],
        told["healthy_breakers"],
        told["open_circuits"],
        told["open_circuits_count"],
    )
    assert {
        "state": "closed",
        "provider": "",
        "success_rate": 0.75,
        "total_calls": 4,
        "successful_calls": 3,
        "failed_calls": 1,
        "ignored_calls": 0,
        "rejected_calls": 0,
        "slow_calls": 0,
        "fallback_calls": 0,
        "state_changes": 0,
        "consecutive_failures": 0,
        "last_failure_time": "2026-01-01T00:00:00+00:00",
        "last_success_time": "2026-01-01T00:00:00+00:00",
        "retry_time": None,
    } == told["metrics"]["voices"]
    assert ("open", 0.0, "2026-01-01T00:01:00+00:00") == (
        told["metrics"]["models"]["state"],
        told["metrics"]["models"]["success_rate"],
        told["metrics"]["models"]["retry_time"],
    )


async def test_a_protected_call_gives_what_the_provider_answers() -> None:
    """Fresh, and counted."""
    breakers = manager()
    models = Models(["one"])
    protected = breakers.protect("models")(models.list)

    assert Answer(["one"], stale=False, age=0.0) == await protected()
    assert 1 == breakers.get("models").snapshot().successful_calls


async def test_a_failure_is_answered_by_the_last_good_answer() -> None:
    """Within its time, marked stale, with its age; also while the circuit is open and nobody is asked."""
    clock = FakeClock()
    breakers = manager(clock, cache_on_failure=True, cache_ttl=300, failure_threshold=2)
    models = Models(["one"], provider_error())
    protected = breakers.protect("models")(models.list)
    await protected()
    clock.advance(100)
    answers = [await protected() for _ in range(3)]

    assert [Answer(["one"], stale=True, age=100.0)] * 3 == answers
    assert (3, "open") == (len(models.asked), breakers.get("models").state)
    assert 3 == breakers.get("models").snapshot().fallback_calls


async def test_an_old_answer_is_no_answer() -> None:
    """After `cache_ttl` the error is raised."""
    clock = FakeClock()
    models = Models(["one"], provider_error())
    protected = manager(clock, cache_on_failure=True, cache_ttl=300).protect("models")(models.list)
    await protected()
    clock.advance(301)
    with pytest.raises(ProviderError):
        await protected()


async def test_without_cache_on_failure_nothing_is_kept() -> None:
    """The error is raised though there was a good answer."""
    protected = manager().protect("models")(Models(["one"], provider_error()).list)
    await protected()
    with pytest.raises(ProviderError):
        await protected()


async def test_answers_to_other_arguments_are_other_answers() -> None:
    """What was asked for tells the kept answers apart."""
    models = Models(["one"], ["two"], provider_error())
    protected = manager(cache_on_failure=True).protect("models")(models.list)
    await protected("a")
    await protected(kind="b")

    assert (["one"], ["two"]) == ((await protected("a")).value, (await protected(kind="b")).value)
    with pytest.raises(ProviderError):
        await protected("c")


async def test_kept_answers_are_bounded() -> None:
    """The oldest goes when there are 64."""
    breakers = manager(cache_on_failure=True, failure_threshold=100)
    protected = breakers.protect("models")
    for each in range(65):
        await protected.run(Models(each).list, key=each)
    dead = Models(provider_error())
    with pytest.raises(ProviderError):
        await protected.run(dead.list, key=0)

    assert (1, 64) == ((await protected.run(dead.list, key=1)).value, (await protected.run(dead.list, key=64)).value)


async def test_a_fixed_answer_stands_in_where_nothing_is_kept() -> None:
    """`fallback_result` may be anything, None too."""
    empty = manager(fallback_result=[]).protect("models")(Models(provider_error()).list)
    none = manager(fallback_result=None).protect("models")(Models(TimeoutError()).list)

    assert (Answer([], stale=True, age=None), Answer(None, stale=True, age=None)) == (await empty(), await none())


@pytest.mark.parametrize(
    "error",
    [
        provider_error(ProviderErrorKind.AUTH),
        provider_error(ProviderErrorKind.INVALID_INPUT),
        provider_error(ProviderErrorKind.CONTENT_POLICY),
        KeyError("ours"),
    ],
)
async def test_errors_of_ours_are_raised(error: Exception) -> None:
    """A wrong key or request is told, however good the last answer was."""
    protected = manager(cache_on_failure=True, fallback_result=[]).protect("models")(Models(["one"], error).list)
    await protected()
    with pytest.raises(type(error)):
        await protected()


async def test_a_cancelled_call_is_cancelled() -> None:
    """No fallback for who does not wait."""
    protected = manager(fallback_result=[]).protect("models")(Models(asyncio.CancelledError()).list)
    with pytest.raises(asyncio.CancelledError):
        await protected()


async def test_an_open_circuit_without_fallback_raises() -> None:
    """Nobody is asked."""
    breakers = manager()
    fail(breakers, "models", 5)
    models = Models(["one"])
    with pytest.raises(CircuitOpenError):
        await breakers.protect("models")(models.list)()

    assert [] == models.asked


async def test_attempts_are_repeated_and_each_counts() -> None:
    """Two failures and a success are three calls of the breaker."""
    breakers = manager()
    models = Models(provider_error(), provider_error(), ["one"])

    assert Answer(["one"]) == await breakers.protect("models", retry=NO_WAIT)(models.list)()
    assert (3, 2, 1) == (
        breakers.get("models").snapshot().total_calls,
        breakers.get("models").snapshot().failed_calls,
        breakers.get("models").snapshot().successful_calls,
    )


async def test_the_configuration_says_how_often() -> None:
    """`max_retries` is 0 by default, since a call is repeated only where somebody asked for it."""
    once, thrice = Models(provider_error()), Models(provider_error(ProviderErrorKind.RATE, retry_after=0.0))
    with pytest.raises(ProviderError):
        await manager().protect("models").run(once.list)
    with pytest.raises(ProviderError):
        await manager(max_retries=2).protect("models").run(thrice.list)

    assert (1, 3) == (len(once.asked), len(thrice.asked))


async def test_what_becomes_of_a_protected_call_is_logged() -> None:
    """Attempts for who debugs, fallbacks as warnings, the end of all attempts as an error; nothing of what was said."""
    with capture_logs() as logs:
        await manager(fallback_result=[]).protect("models")(Models(provider_error()).list)("a secret")
        with pytest.raises(ProviderError):
            await manager().protect("models")(Models(provider_error()).list)("a secret")

    assert [
        ("debug", "attempt"),
        ("info", "upstream call"),
        ("warning", "fallback answered"),
        ("debug", "attempt"),
        ("info", "upstream call"),
        ("error", "all attempts failed"),
    ] == [(line["log_level"], line["event"]) for line in logs]
    assert "secret" not in str(logs)
