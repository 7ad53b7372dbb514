"""When one segment is asked for again from the same provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from servicekit.resilience.errors import ProviderError

if TYPE_CHECKING:
    from tenacity import RetryCallState


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """At most `retries` more calls after the first, since each may bill.

    Waits are drawn from 0 to `delay` seconds, doubled each time, and never above `longest_wait`. A provider that asks
    for a wait gets it; where it asks for more than `longest_wait`, it is not asked again.
    """

    retries: int = 2
    delay: float = 0.5
    longest_wait: float = 10.0

    def attempts(self) -> AsyncRetrying:
        """Return the attempts at one segment; the last one's error is raised as it is."""
        backoff = wait_random_exponential(multiplier=self.delay, max=self.longest_wait)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome is not None else None
            asked = error.retry_after if isinstance(error, ProviderError) else None
            return backoff(state) if asked is None else asked

        return AsyncRetrying(
            stop=stop_after_attempt(1 + self.retries),
            retry=retry_if_exception(self._again),
            wait=wait,
            reraise=True,
        )

    def _again(self, error: BaseException) -> bool:
        return isinstance(error, ProviderError) and error.retryable and (error.retry_after or 0.0) <= self.longest_wait
