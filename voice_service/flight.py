"""One synthesis for all who want the same segment at the same time."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from voice_service.turns import Turn

T = TypeVar("T")


class Abandoned(Exception):  # noqa: N818 - nothing went wrong: nobody is left to answer
    """Everyone who waited for a flight is gone, and it had not begun what it must finish."""


class FlightsFull(Exception):  # noqa: N818 - a limit, not a fault
    """As many flights are under way as are allowed."""


class Flight(Generic[T]):
    """One synthesis under way. Its task belongs to the table, not to the caller that asked first."""

    def __init__(self) -> None:
        self.task: asyncio.Task[T] | None = None
        self.waiters = 0
        self.askers: dict[str, None] = {}
        """All that asked for it, the first one first; also those that are gone."""
        self.admitted = asyncio.Event()
        """Set once the turn of one of those that asked is due: a provider may be called."""
        self._turns: list[Turn] = []
        self._sent = False
        self._committed = 0

    def join(self, asker: str, turn: Turn) -> None:
        """Notes one that asks for it. Its turn passes on once the first call is sent."""
        self.askers[asker] = None
        turn.when_due(self.admitted.set)
        if self._sent:
            turn.pass_on()
        else:
            self._turns.append(turn)

    @contextmanager
    def committed(self) -> Iterator[None]:
        """Within the block, which sends a call, the flight goes on even where no caller waits any more: it is paid for.

        Raises Abandoned where no caller waits already.
        """
        if not self.waiters:
            raise Abandoned
        self._committed += 1
        self._sent = True
        try:
            while self._turns:
                self._turns.pop(0).pass_on()
            yield
        finally:
            self._committed -= 1

    @property
    def is_committed(self) -> bool:
        """Whether the flight must not be stopped now."""
        return self._committed > 0


class FlightTable(Generic[T]):
    """Flights by key, at most `limit` at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._flights: dict[str, Flight[T]] = {}
        self._tasks: dict[asyncio.Task[T], Flight[T]] = {}

    async def run(self, key: str, work: Callable[[Flight[T]], Awaitable[T]], asker: str, turn: Turn) -> T:
        """Joins the flight of `key`, or starts `work` as one; returns what it returns and raises what it raises.

        `asker` and its `turn` are noted in the flight. A waiter that is cancelled leaves the others alone. When the
        last one leaves, the flight is cancelled, unless it is committed: then it goes on to the end of that block.
        Raises FlightsFull.
        """
        flight = self._flights.get(key)
        if flight is None or flight.task is None or flight.task.done():
            flight = self._start(key, work)
        task = flight.task
        assert task is not None  # noqa: S101 - set where the flight is made
        flight.join(asker, turn)
        flight.waiters += 1
        try:
            return await asyncio.shield(task)
        finally:
            turn.pass_on()
            flight.waiters -= 1
            if not flight.waiters and not task.done() and not flight.is_committed:
                if self._flights.get(key) is flight:
                    del self._flights[key]
                task.cancel()

    async def landed(self, asker: str) -> None:
        """Return when the flights that `asker` asked for have ended, however they do."""
        tasks = [task for task, flight in self._tasks.items() if asker in flight.askers]
        if tasks:
            await asyncio.wait(tasks)

    async def drain(self, timeout: float) -> None:
        """Give what is under way `timeout` seconds to end, then cancel it."""
        tasks = set(self._tasks)
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=timeout)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _start(self, key: str, work: Callable[[Flight[T]], Awaitable[T]]) -> Flight[T]:
        if len(self._tasks) >= self._limit:
            raise FlightsFull
        flight = Flight[T]()

        async def fly() -> T:
            return await work(flight)

        flight.task = task = asyncio.create_task(fly(), name=f"flight {key[:12]}")
        self._flights[key] = flight
        self._tasks[task] = flight

        def landed(done: asyncio.Task[T]) -> None:
            self._tasks.pop(done, None)
            if self._flights.get(key) is flight:
                del self._flights[key]
            if not done.cancelled():
                done.exception()  # seen, though nobody may be left to raise it to

        task.add_done_callback(landed)
        return flight
