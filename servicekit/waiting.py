"""Bounds waits for a peer, and finishes work whose caller has left."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakValueDictionary

from servicekit.context import present_owner, without_deadline
from servicekit.errors import DomainError


class IdleTimeout:
    """A block whose waits, each between `begin` and `end`, last `seconds` at most; then the block ends in TimeoutError.

    One timer serves all its waits: a timer a message costs as much as the message.

    If `owing` is given and returns False when the time is over, the wait starts again. Only waits of the task that
    entered the block are interrupted.
    """

    def __init__(self, seconds: float, *, owing: Callable[[], bool] | None = None) -> None:
        self._seconds = seconds
        self._owing = owing
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._since: float | None = None
        self._lost = False

    @property
    def lost(self) -> bool:
        """True when a wait lasted too long; False for a TimeoutError that came from elsewhere."""
        return self._limit.expired()

    def begin(self) -> None:
        """Notes that a wait begins."""
        self._since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_at(self._since + self._seconds, self._look)

    def end(self) -> None:
        """Notes that the wait is over."""
        self._since = None
        if self._lost:
            # It ended just as it was to be cut.
            self._lost = False
            self._limit.reschedule(None)

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def _look(self) -> None:
        self._timer = None
        if self._since is None:
            return
        now = self._loop.time()
        due = self._since + self._seconds
        if due <= now and self._owing is not None and not self._owing():
            due = now + self._seconds
        if due > now:
            self._timer = self._loop.call_at(due, self._look)
        else:
            self._lost = True
            self._limit.reschedule(now)


class Places:
    """Bounds how much is done at a time: what comes beyond waits, and is refused when it has waited for too long."""

    def __init__(self, most: int, *, each: int | None = None, seconds: float, refusal: str) -> None:
        """`each` is the maximum for one owner; `seconds` the longest wait.

        Then comes RESOURCE_EXHAUSTED / RATE_LIMITED with the words of `refusal`.
        """
        self._all = asyncio.Semaphore(most)
        self._each = each or most
        self._owners: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._seconds = seconds
        self._refusal = refusal

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Holds a place for the owner of the call while the block runs."""
        own = self._owners.setdefault(present_owner(), asyncio.Semaphore(self._each))
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self._seconds):
                    for places in (own, self._all):
                        await held.enter_async_context(places)
            except TimeoutError:
                raise DomainError("RATE_LIMITED", self._refusal, retry_after=self._seconds) from None
            yield


T = TypeVar("T")


class Finisher:
    """Runs work to its end, also when its caller is cancelled or its caller's deadline passes."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Returns what `work` returns; it continues when its caller is cancelled."""
        return await asyncio.shield(self.start(work))

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Starts `work`, for which no deadline of its caller counts. Callers that await it shield it."""
        task = asyncio.create_task(work, context=without_deadline())
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def settle(self) -> None:
        """Returns when all that is running now has ended."""
        if self._running:
            await asyncio.wait(self._running)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # The caller may be gone; a failure that is never looked at would be logged as a defect.
            task.exception()
