"""Calls to a store behind a network: circuit breakers, retries, and an end that does not wait for the caller."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from servicekit.errors import provider_failed, unavailable
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.errors import ProviderError
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.retry import RetryBudget, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from storage_service.object_store.config import BucketConfig
    from storage_service.supabase.config import SupabaseConfig

T = TypeVar("T")


def breaker_config(name: str) -> BreakerConfig:
    """A circuit opens after 10 failures in a row, for 30 s at first. Its name begins with its provider's."""
    return BreakerConfig(
        name=name,
        provider=name.partition(":")[0],
        failure_threshold=10,
        recovery_timeout=30.0,
        max_recovery_timeout=300.0,
    )


class Upstream:
    """Makes calls, `most` at once. ProviderErrors become DomainErrors."""

    def __init__(self, breakers: BreakerManager | None, config: SupabaseConfig | BucketConfig, *, most: int) -> None:
        self.breakers = breakers or BreakerManager(breaker_config)
        self._policy = RetryPolicy(
            retries=config.retries, delay=config.retry_delay, longest_wait=config.timeout_seconds
        )
        self._budget = RetryBudget()
        self._most = most
        self._running: set[asyncio.Task[Any]] = set()

    async def attempts(
        self,
        circuit: str,
        call: Callable[[], Awaitable[T]],
        *,
        may_wait: Callable[[ProviderError], bool] = lambda _: True,
        on_retry: Callable[[], None] = lambda: None,
    ) -> T:
        """Returns what `call` returns, behind that circuit breaker; made again after failures that `may_wait`."""
        breaker = self.breakers.get(circuit)

        async def attempt() -> T:
            with breaker.call():
                return await call()

        attempts = self._policy.attempts(budget=self._budget, may_wait=may_wait, on_retry=lambda *_: on_retry())
        try:
            result: T = await attempts(attempt)
        except ProviderError as error:
            raise provider_failed(error) from error
        return result

    async def to_the_end(self, work: Callable[[], Awaitable[T]]) -> T:
        """Returns what `work` returns, which goes on when its caller goes away; UNAVAILABLE / STORAGE_BUSY."""
        if len(self._running) >= self._most:
            raise unavailable("STORAGE_BUSY", "Too many calls are waiting for the store.")
        task = asyncio.ensure_future(work())
        self._running.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def settle(self) -> None:
        """Waits for what goes on without its caller."""
        if self._running:
            await asyncio.wait(self._running)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Its caller may be gone; a failure that is never looked at would be logged as a defect.
            task.exception()
