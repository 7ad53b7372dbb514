"""Concurrency limit and rate limit of a provider."""

from __future__ import annotations

import asyncio
import itertools
import time
from bisect import insort
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiolimiter import AsyncLimiter

from servicekit.resilience.errors import ProviderError, ProviderErrorKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_SETTLE_SECONDS: Final = 1.0
"""Calls that were sent together are refused together: that is one sign, not many."""

_RECENT: Final = 20
_MANY_REFUSED: Final = 3
"""Of that many recent calls. Fewer cost less than a lower limit: each is repeated for nothing."""

FIRST: Final = float("-inf")
"""Order of a call that goes before all others that wait."""


class ProviderLimits:
    """The limits of one provider, over all calls to it. For one event loop.

    At most `concurrency` calls at once. A `note_too_many` halves that unless few of the last calls were refused so, and
    each call that succeeds gives a little back, so that about as many successes as the limit is high raise it by one,
    up to `concurrency` again.

    With `ramped` the limit begins at one instead, and each `note_answered` raises it by one.

    `requests_per_minute` (None: any number) holds for every span of a minute: a tenth of it may come at once, the
    rest is spread evenly. `most_waiting` bounds the queue.
    """

    def __init__(
        self,
        concurrency: int,
        requests_per_minute: float | None = None,
        provider: str = "",
        *,
        ramped: bool = False,
        most_waiting: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if concurrency < 1 or (requests_per_minute is not None and requests_per_minute <= 0):
            raise ValueError("concurrency must be at least 1 and requests_per_minute above 0")
        self.provider: Final = provider
        self.ceiling: Final = concurrency
        self._ramped = ramped
        self._limit = 1.0 if ramped else float(concurrency)
        self._most_waiting = most_waiting
        self._clock = clock
        self._lowered_at = float("-inf")
        self._refusals: deque[bool] = deque(maxlen=_RECENT)
        """Of the last calls that succeeded or were refused for being too many, those that were refused."""
        self._in_use = 0
        self._waiters: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._rate = None if requests_per_minute is None else _rate(requests_per_minute)
        # aiolimiter lets later calls pass those that wait; the lock preserves the order.
        self._rate_turn = asyncio.Lock()

    @property
    def limit(self) -> int:
        """Calls that may be made at once, now."""
        return int(self._limit)

    @property
    def in_use(self) -> int:
        """Calls that are being made."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """Those that wait for a slot."""
        return sum(not waiter.done() for _, _, waiter in self._waiters)

    def note_too_many(self) -> None:
        """Halves the limit: the provider reported too many calls at once."""
        now = self._clock()
        self._refusals.append(True)
        is_rare = len(self._refusals) == _RECENT and sum(self._refusals) < _MANY_REFUSED
        if now - self._lowered_at >= _SETTLE_SECONDS and not is_rare:
            self._lowered_at = now
            self._limit = max(1.0, self.limit / 2)

    def note_answered(self) -> None:
        """Raises the limit by one: a call has its first token or byte."""
        self._limit = min(float(self.ceiling), self._limit + 1)
        self._wake()

    def lift(self) -> None:
        """Raises the limit to its ceiling: a ramp is over."""
        self._limit = float(self.ceiling)
        self._wake()

    @asynccontextmanager
    async def slot(self, deadline: float | None = None, *, order: float = 0.0) -> AsyncIterator[None]:
        """Waits for room for one call: lower `order` first (FIRST before all), and else first come first served.

        ProviderError CONCURRENCY where there is none by `deadline` (the loop's clock), or too many wait already. An
        exception within does not count as a success.
        """
        try:
            async with asyncio.timeout_at(deadline) as limit:
                await self._enter(order)
        except TimeoutError:
            if not limit.expired():
                raise
            raise self._no_room() from None
        try:
            yield
            self._refusals.append(False)
            if not self._ramped:
                self._limit = min(float(self.ceiling), self._limit + 1 / self._limit)
        finally:
            self._leave()

    async def _enter(self, order: float) -> None:
        await self._take(order)
        if self._rate is None:
            return
        try:
            async with self._rate_turn:
                await self._rate.acquire()
        except BaseException:
            self._leave()
            raise

    async def _take(self, order: float) -> None:
        if self._in_use < self.limit and not self._waiters:
            self._in_use += 1
            return
        if len(self._waiters) >= self._most_waiting:
            raise self._no_room()
        waiter = asyncio.get_running_loop().create_future()
        place = (order, next(self._numbers), waiter)
        insort(self._waiters, place)
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                # Its turn came just as it gave up.
                self._leave()
            elif place in self._waiters:
                self._waiters.remove(place)
            raise

    def _leave(self) -> None:
        self._in_use -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiters and self._in_use < self.limit:
            _, _, waiter = self._waiters.pop(0)
            if not waiter.done():
                self._in_use += 1
                waiter.set_result(None)

    def _no_room(self) -> ProviderError:
        return ProviderError(ProviderErrorKind.CONCURRENCY, "too many calls wait for it", provider=self.provider)


def _rate(per_minute: float) -> AsyncLimiter:
    """Returns a leaky bucket that never lets more than `per_minute` through in any 60 s: a burst comes off the rest."""
    burst = max(1.0, per_minute // 10)
    steady = per_minute - burst if per_minute >= 2 else per_minute
    return AsyncLimiter(burst, burst * 60 / steady)
