"""Configuration of one circuit breaker, and what an exception says about its provider."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, final

from servicekit.resilience.errors import ProviderError

ExceptionTypes: TypeAlias = type[Exception] | tuple[type[Exception], ...]


@final
class Unset(Enum):
    """Says that no fallback is given: None may be one."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
NoFallback: TypeAlias = Literal[Unset.UNSET]


@final
class Outcome(Enum):
    """What a call says about the provider's health."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"
    """Nothing: the caller's fault, or the caller's wish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerConfig:
    """One circuit breaker. Times are in seconds, rates are fractions.

    It opens after `failure_threshold` failures in a row. Where `minimum_calls` or more ended within the last
    `window_seconds` or are in flight, `failure_rate` of them must have failed as well: among parallel calls, failures
    in a row are common. Where there are fewer, calls that were in flight together are one failure. It also opens after
    `minimum_calls` failures without an answer between them, and where, of at least `minimum_slow_calls` that ended,
    `slow_call_rate` took `slow_call_seconds` or longer to the first token or byte (None: nothing is slow).

    It lets one probe through each `recovery_timeout`, which is lengthened by a random part of up to `jitter`.
    `longest_cooldown` bounds what a provider can ask for by Retry-After; up to `shortest_cooldown` a retry waits it
    out, and the breaker stays closed. With `opens_when_refused` it also opens where all tries of a call are refused for
    too many calls; its callers must be able to wait.

    `expected_exception` are the exceptions that may speak against the provider (a ProviderError does where its
    treatment says so); `exclude_exceptions` never do. The rest is for read-only calls under
    `BreakerManager.protect`: `max_retries` after the first attempt; `cache_on_failure` serves the last good answer
    for `cache_ttl`; `fallback_result` is the answer when there is none.
    """

    name: str
    provider: str = ""
    failure_threshold: int = 5
    recovery_timeout: float = 60.0
    jitter: float = 0.1
    failure_rate: float = 0.5
    slow_call_rate: float = 0.8
    slow_call_seconds: float | None = None
    window_seconds: float = 60.0
    minimum_calls: int = 10
    minimum_slow_calls: int = 20
    longest_cooldown: float = 3600.0
    shortest_cooldown: float = 0.0
    opens_when_refused: bool = False
    expected_exception: ExceptionTypes = (ProviderError, TimeoutError, ConnectionError)
    exclude_exceptions: ExceptionTypes = ()
    max_retries: int = 0
    cache_on_failure: bool = False
    cache_ttl: float = 300.0
    fallback_result: Any | NoFallback = UNSET

    def __post_init__(self) -> None:
        """Holds the numbers to what they can mean; ValueError names the one that is wrong."""
        good = {
            "name": bool(self.name),
            "failure_threshold": self.failure_threshold >= 1,
            "recovery_timeout": self.recovery_timeout > 0,
            "jitter": 0 <= self.jitter <= 1,
            "failure_rate": 0 < self.failure_rate <= 1,
            "slow_call_rate": 0 < self.slow_call_rate <= 1,
            "slow_call_seconds": self.slow_call_seconds is None or self.slow_call_seconds > 0,
            "window_seconds": self.window_seconds > 0,
            "minimum_calls": self.minimum_calls >= 1,
            "minimum_slow_calls": self.minimum_slow_calls >= 1,
            "longest_cooldown": self.longest_cooldown > 0,
            "max_retries": self.max_retries >= 0,
            "cache_ttl": self.cache_ttl >= 0,
        }
        wrong = [field for field, fits in good.items() if not fits]
        if wrong:
            raise ValueError(f"a circuit breaker cannot have this: {', '.join(wrong)}")

    def outcome(self, error: BaseException | None) -> Outcome:
        """Returns what a call that ended with `error` says; a group speaks against the provider if one of it does."""
        if error is None:
            return Outcome.SUCCESS
        if isinstance(error, BaseExceptionGroup):
            against = any(self.outcome(member) is Outcome.FAILURE for member in error.exceptions)
        elif isinstance(error, self.exclude_exceptions) or not isinstance(error, self.expected_exception):
            against = False
        else:
            against = error.counts_for_breaker if isinstance(error, ProviderError) else True
        return Outcome.FAILURE if against else Outcome.IGNORED

    def pause_of(self, error: BaseException | None) -> ProviderError | None:
        """Returns the error by which the provider asked for a pause, the longest of a group, or None."""
        if isinstance(error, BaseExceptionGroup):
            asked = [each for member in error.exceptions if (each := self.pause_of(member)) is not None]
            return max(asked, key=lambda each: each.retry_after or 0.0, default=None)
        if not isinstance(error, ProviderError) or not error.treatment.cool_down or error.retry_after is None:
            return None
        waited_out = error.retryable and error.retry_after <= self.shortest_cooldown
        return None if waited_out else error
