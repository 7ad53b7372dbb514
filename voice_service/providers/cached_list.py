"""A list that is fetched when it is needed, and that stays in use while it cannot be fetched again."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import structlog

from servicekit.resilience.errors import ProviderError, ProviderErrorKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log: Final = structlog.stdlib.get_logger(__name__)
_AGAIN_SECONDS: Final = 30.0
"""Time after a failure in which nothing is fetched."""

T = TypeVar("T")


class CachedList(Generic[T]):
    """What `fetch` returns, good for `seconds`.

    An old value is returned at once, and renewed in the background. Only where there is none does a caller wait,
    together with all others. After a failure nothing is fetched for half a minute.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[T]],
        *,
        name: str,
        provider: str,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is for the log, `provider` for errors."""
        self._fetch = fetch
        self._name = name
        self._provider = provider
        self._seconds = seconds
        self._clock = clock
        self.value: T | None = None
        """The last value, however old; None before the first."""
        self.error: ProviderError | None = None
        """How the last fetch failed; None where it did not."""
        self._due = float("-inf")
        self._task: asyncio.Task[None] | None = None

    @property
    def stale(self) -> bool:
        """Whether the value could not be renewed when it was time, or there is none."""
        return self.value is None or self.error is not None

    async def get(self) -> T:
        """Returns the value. Raises ProviderError where there is none and none can be fetched."""
        self.renew()
        if self.value is None and (task := self._task) is not None:
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()
        if self.value is not None:
            return self.value
        error = self.error
        if error is None:
            raise ProviderError(ProviderErrorKind.CANCELLED, "it is being closed", provider=self._provider)
        raise ProviderError(
            error.kind,
            error.message,
            provider=error.provider,
            retry_after=error.retry_after,
            status=error.status,
            request_id=error.request_id,
            said=error.said,
        ) from error

    def renew(self) -> None:
        """Fetches in the background, unless the value is current or the last fetch has just failed."""
        if self._task is None and self._clock() >= self._due:
            self._task = asyncio.create_task(self._renew(), name=f"{self._provider} {self._name}")

    def expire(self) -> None:
        """Makes the next call fetch again, even if the last fetch has just failed."""
        self._due = float("-inf")

    async def settled(self) -> None:
        """Waits for the fetch that is under way, if there is one."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def aclose(self) -> None:
        """Ends the fetch that is under way, and begin no other."""
        self._due = float("inf")
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _renew(self) -> None:
        try:
            self.value = await self._fetch()
            self.error = None
            self._due = self._clock() + self._seconds
        except ProviderError as error:
            self.error = error
            self._due = self._clock() + min(_AGAIN_SECONDS, self._seconds)
            _log.warning(
                "list not fetched",
                provider=self._provider,
                list=self._name,
                kind=error.kind.value,
                cached=self.value is not None,
            )
        finally:
            self._task = None
