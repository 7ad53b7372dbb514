"""One synthesis for all who want the same segment at the same time, sent in the order of the text.

Whatever is looked up first, the segments of a narration reach a provider in that order.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator


class Turn:
    """The place of one segment.

    It is due once every segment before it has passed on: has sent its first call, had an answer, or needs no call.
    """

    def __init__(self, *, due: bool = True) -> None:
        self._due = due
        self._passed = False
        self._next: Turn | None = None
        self._when_due: list[Callable[[], None]] = []

    def following(self) -> Turn:
        """Returns the turn of the segment behind this one."""
        self._next = Turn(due=self._due and self._passed)
        return self._next

    def when_due(self, go: Callable[[], None]) -> None:
        """Calls `go` once the turn is due, at once where it is."""
        if self._due:
            go()
        else:
            self._when_due.append(go)

    def pass_on(self) -> None:
        """Says that this segment holds up no other. Can be repeated."""
        if self._passed:
            return
        self._passed = True
        turn: Turn = self
        while turn._due and turn._passed and turn._next is not None:
            turn = turn._next
            turn._become_due()  # noqa: SLF001 - a turn of the same row

    def _become_due(self) -> None:
        self._due = True
        waiting, self._when_due = self._when_due, []
        for go in waiting:
            go()


T = TypeVar("T")


class Abandoned(Exception):  # noqa: N818 - nothing went wrong: no caller is left
    """All callers of a flight are gone, and it had not started what it must finish."""


class FlightsFull(Exception):  # noqa: N818 - a limit, not a fault
    """As many flights are under way as are allowed."""


class Flight(Generic[T]):
    """One synthesis under way. Its task belongs to the table, not to the caller that asked first."""

    def __init__(self) -> None:
        self.task: asyncio.Task[T] | None = None
        self.waiters = 0
        self.askers: dict[Turn, str] = {}
        """All that asked for it, by their turns, the first one first, and their stories; also those that are gone."""
        self.admitted = asyncio.Event()
        """Set once the turn of one of those that asked is due: a provider may be called."""
        self._passed_on = False
        self._committed = 0

    def join(self, turn: Turn, story_id: str) -> None:
        """Notes one that asks for it. Its turn passes on with the flight."""
        self.askers[turn] = story_id
        turn.when_due(self.admitted.set)
        if self._passed_on:
            turn.pass_on()

    def pass_on(self) -> None:
        """Says that the flight holds up no segment behind it. Can be repeated."""
        self._passed_on = True
        for turn in tuple(self.askers):
            turn.pass_on()

    @contextmanager
    def committed(self) -> Iterator[None]:
        """Within the block, which sends a call, the flight continues even if no caller waits any more: it is paid for.

        Raises Abandoned where no caller waits already.
        """
        if not self.waiters:
            raise Abandoned
        self._committed += 1
        try:
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

    async def run(self, key: str, work: Callable[[Flight[T]], Awaitable[T]], turn: Turn, story_id: str = "") -> T:
        """Joins the flight of `key`, or starts `work` as one; returns what it returns and raises what it raises.

        The `turn` and the story of the caller are noted in the flight. A waiter that is cancelled leaves the others
        alone. When the last one leaves, the flight is cancelled, unless it is committed: then it runs to the end of
        that block. Raises FlightsFull.
        """
        flight = self._flights.get(key)
        if flight is None or flight.task is None or flight.task.done():
            flight = self._start(key, work)
        task = flight.task
        assert task is not None  # noqa: S101 - set where the flight is made
        flight.join(turn, story_id)
        flight.waiters += 1
        try:
            return await asyncio.shield(task)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not task.done() and not flight.is_committed:
                if self._flights.get(key) is flight:
                    del self._flights[key]
                task.cancel()

    def is_committed(self, turn: Turn) -> bool:
        """Returns whether the flight that a caller with this turn asked for must not be stopped now."""
        return any(flight.is_committed and turn in flight.askers for flight in self._tasks.values())

    async def landed(self, turns: Collection[Turn]) -> None:
        """Returns when the flights that callers with these turns asked for have ended, however they do."""
        tasks = [task for task, flight in self._tasks.items() if not flight.askers.keys().isdisjoint(turns)]
        if tasks:
            await asyncio.wait(tasks)

    async def drain(self, timeout: float) -> None:
        """Lets what is under way end for `timeout` seconds, then cancels it."""
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
                done.exception()  # retrieved, though no caller may be left

        task.add_done_callback(landed)
        return flight
