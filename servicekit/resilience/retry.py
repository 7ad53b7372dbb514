"""Retries of calls to providers. No other layer retries; the SDKs' own retries are off."""

from __future__ import annotations

import asyncio
import random as randomness
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from tenacity import AsyncRetrying, retry_if_exception

from servicekit.resilience.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tenacity import RetryCallState

_log: Final = structlog.stdlib.get_logger("servicekit.retry")


def log_retry(error: ProviderError, attempt: int, wait: float) -> None:
    """Warns that a call is made again, after `wait` seconds."""
    _log.warning(
        "call retried", provider=error.provider, kind=error.kind.value, attempt=attempt, wait_seconds=round(wait, 3)
    )


class RetryBudget:
    """Bounds the retries to one provider by a token bucket, so that they cannot multiply an outage.

    Each request earns `ratio` tokens and each second `minimum_per_second`; each retry spends one. It begins full, with
    `cap` tokens, or with what `concurrency` requests at once earn where that is more. By default the retries of a
    provider that fails a fifth of all calls (a quarter of a retry for each request) are within it for ever. `clock`
    gives seconds that never go back.
    """

    def __init__(
        self,
        ratio: float = 0.3,
        minimum_per_second: float = 1.0,
        cap: float = 50.0,
        *,
        concurrency: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ratio = ratio
        self._per_second = minimum_per_second
        self._cap = max(cap, ratio * concurrency)
        self._clock = clock
        self._tokens = self._cap
        self._filled_at = clock()

    @property
    def tokens(self) -> float:
        """What is left."""
        self._fill()
        return self._tokens

    def earn(self) -> None:
        """Adds what a first call earns."""
        self._fill()
        self._tokens = min(self._cap, self._tokens + self._ratio)

    def spend(self) -> bool:
        """Takes a token for a retry; False where there is none."""
        self._fill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def give_back(self) -> None:
        """Returns a token that was taken for a retry which is not made."""
        self._tokens = min(self._cap, self._tokens + 1)

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._cap, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now


_LATE_SHARE: Final = 0.1
"""Random part of a requested wait, so that callers with the same wait do not return at the same moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """At most `retries` more attempts after the first.

    The n-th wait is drawn from 0 to `delay * backoff ** (n - 1)` seconds (full jitter), and never above
    `longest_wait`. A provider that asks for a wait gets that and up to a tenth more, or the drawn wait where that is
    longer; a request for more than `longest_wait` ends the retries.
    """

    retries: int = 3
    delay: float = 1.0
    backoff: float = 2.0
    longest_wait: float = 30.0

    def attempts(
        self,
        *,
        budget: RetryBudget | None = None,
        deadline: float | None = None,
        on_retry: Callable[[ProviderError, int, float], None] = log_retry,
        may_wait: Callable[[ProviderError], bool] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = randomness.random,
    ) -> AsyncRetrying:
        """Returns attempts: `await attempts(call)` or `async for attempt in attempts: with attempt: …`.

        The last error is raised as it is: when it is not retryable, when the attempts or the `budget` are used up,
        when the wait would end past `deadline` (the loop's clock), or when `may_wait` says no to the error.
        `on_retry` gets the error, the number of the attempt that failed (from 1) and the wait in seconds; by
        default that is logged as a warning.
        """
        if budget is not None:
            budget.earn()

        def again(error: BaseException) -> bool:
            return (
                isinstance(error, ProviderError)
                and error.retryable
                and (error.retry_after or 0.0) <= self.longest_wait
                and (may_wait is None or may_wait(error))
            )

        def stop(state: RetryCallState) -> bool:
            if state.attempt_number > self.retries:
                return True
            if deadline is not None and asyncio.get_running_loop().time() + state.upcoming_sleep >= deadline:
                return True
            return budget is not None and not budget.spend()

        return AsyncRetrying(
            stop=stop,
            retry=retry_if_exception(again),
            wait=lambda state: self.pause(_error(state), state.attempt_number, random=random),
            before_sleep=lambda state: on_retry(_error(state), state.attempt_number, state.upcoming_sleep),
            sleep=sleep,
            reraise=True,
        )

    def pause(
        self,
        error: ProviderError,
        number: int,
        *,
        least: float = 0.0,
        random: Callable[[], float] = randomness.random,
    ) -> float:
        """Returns the seconds to wait after attempt `number` failed with `error`.

        `least` is the part of what is drawn that is not drawn, from 0 to 1.
        """
        asked = max(0.0, error.retry_after or 0.0)
        return max(asked * (1 + _LATE_SHARE * random()), self._longest(number) * (least + (1 - least) * random()))

    def _longest(self, attempt: int) -> float:
        try:
            return min(self.delay * self.backoff ** (attempt - 1), self.longest_wait)
        except OverflowError:
            return self.longest_wait


def _error(state: RetryCallState) -> ProviderError:
    error = state.outcome.exception() if state.outcome is not None else None
    if not isinstance(error, ProviderError):
        raise TypeError("only errors of providers are retried")
    return error
