"""The queue of a circuit breaker: calls that wait until it lets one through, in order of arrival.

One timer a circuit, however many wait. A stream that may wait for ten minutes in all, and says so every 20 s::

    budget = WaitBudget(600.0)
    async with aclosing(budget.wait([breaker])) as notices:
        async for circuit in notices:
            ...                         # still in the queue
    ready = budget.ready
"""

from __future__ import annotations

import asyncio
import math
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable, Iterator

    from servicekit.resilience.errors import ProviderError

_log: Final = structlog.stdlib.get_logger("servicekit.circuits")

_MOST_WAITING: Final = 4096
_CALL_SECONDS: Final = 1.0
"""Time that the first of a queue has for its call when the circuit is half-open; then it is the next one's turn."""


class Circuit(Protocol):
    """A circuit breaker, as far as those that wait for it need it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def provider(self) -> str:
        """The name of its provider."""

    @property
    def state(self) -> str:
        """How it is now."""

    @property
    def retry_after(self) -> float:
        """Seconds until a call may be let through; 0 where one would be now."""

    @property
    def answers(self) -> int:
        """Calls that were answered so far."""

    @property
    def queue(self) -> CircuitQueue:
        """Those that wait for it."""

    def tries_ended(self, error: ProviderError, *, answers: int, used_up: bool) -> None:
        """Notes that a call is not made again; see CircuitBreaker."""


class Waiter:
    """Waits for the first of some circuits."""

    def __init__(self, *, probes: bool) -> None:
        """`probes`: its call may be the probe of a half-open circuit."""
        self.probes: Final = probes
        self.in_line = False
        """False where no queue has room: its turn never comes."""
        self._turn: asyncio.Future[Circuit] = asyncio.get_running_loop().create_future()

    @property
    def waits(self) -> bool:
        """True until it is its turn."""
        return not self._turn.done()

    async def turn(self, seconds: float) -> Circuit | None:
        """Returns the circuit that lets a call through, None after `seconds`. To be called again, it stays in line."""
        await asyncio.wait([self._turn], timeout=seconds)
        return None if self.waits else self._turn.result()

    def wake(self, circuit: Circuit) -> None:
        """Says that `circuit` lets a call through."""
        if self.waits:
            self._turn.set_result(circuit)


class CircuitQueue:
    """Those that wait for one circuit.

    When it closes all are woken. When it is half-open only the first is, whose call is the probe; if it makes none
    within a second, the next one is.
    """

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit
        self._waiters: dict[Waiter, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Returns how many wait."""
        return len(self._waiters)

    @property
    def has_probe(self) -> bool:
        """True while a call waits that may be the probe."""
        return any(each.probes and each.waits for each in self._waiters)

    @contextmanager
    def holds(self, waiter: Waiter) -> Iterator[None]:
        """Adds `waiter`, where there is room, for as long as the block lasts."""
        if len(self._waiters) >= _MOST_WAITING:
            yield
            return
        self._waiters[waiter] = None
        waiter.in_line = True
        try:
            if self._timer is None:
                self.serve()
            yield
        finally:
            self._waiters.pop(waiter, None)
            if not self._waiters:
                self._disarm()

    def serve(self) -> None:
        """Wakes those whose turn it is; to be called whenever the circuit has changed."""
        self._disarm()
        if not self._waiters:
            return
        wait = self._circuit.retry_after
        if self._timer is not None:
            # Its time was over: the change of state has served them.
            return
        if wait <= 0:
            closed = self._circuit.state == "closed"
            ready = [each for each in self._waiters if each.waits and (closed or each.probes)]
            for waiter in ready if closed else ready[:1]:
                del self._waiters[waiter]
                waiter.wake(self._circuit)
        if self._waiters:
            self._timer = asyncio.get_running_loop().call_later(wait if wait > 0 else _CALL_SECONDS, self.serve)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@contextmanager
def waiting_for(circuits: Iterable[Circuit], *, probes: bool = True) -> Iterator[Waiter]:
    """Stands in the queues of `circuits` for as long as the block lasts.

    A caller whose call is never a probe (not `probes`) is woken only when a circuit is closed.
    """
    waiter = Waiter(probes=probes)
    with ExitStack() as stack:
        for circuit in circuits:
            stack.enter_context(circuit.queue.holds(waiter))
        yield waiter


class Pause:
    """A pause of one stream of its own before it calls a circuit that is closed, waited for as an open circuit is."""

    def __init__(self, provider: str, seconds: float) -> None:
        self.name: Final = ""
        self.provider: Final = provider
        self.state: Final = "closed"
        self.answers: Final = 0
        self.queue: Final = CircuitQueue(self)
        self._until = asyncio.get_running_loop().time() + seconds

    @property
    def retry_after(self) -> float:
        """Seconds that are left."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    def tries_ended(self, error: ProviderError, *, answers: int, used_up: bool) -> None:
        """Does nothing: it is no circuit."""


class WaitBudget:
    """The time that one stream may wait for circuits, in all its waits since it was refilled."""

    def __init__(self, seconds: float, *, deadline: float = math.inf, beat: float = 20.0) -> None:
        """`deadline` is on the loop's clock; `beat` is the seconds between two notices, also of different waits."""
        self._seconds = self._whole = seconds
        self._deadline = deadline
        self._beat = beat
        self._noticed_at = -math.inf
        self.ready: Circuit | None = None
        """The circuit that ended the last wait by letting a call through."""

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return min(self._seconds, self._deadline - asyncio.get_running_loop().time())

    def refill(self) -> None:
        """Gives back the time that was spent."""
        self._seconds = self._whole

    def spend(self, seconds: float) -> None:
        """Takes time that was spent with another wait."""
        self._seconds -= seconds

    def notice_due(self) -> bool:
        """Returns whether a notice of a wait is due, and if so notes that it is given now."""
        now = asyncio.get_running_loop().time()
        if now < self._noticed_at + self._beat:
            return False
        self._noticed_at = now
        return True

    async def wait(self, circuits: Collection[Circuit], *, probes: bool = True) -> AsyncGenerator[Circuit, None]:
        """Waits for the first of `circuits`; yields the one that may be back first whenever a notice is due.

        Where none lets a call through in time, or too many wait already, the wait ends at once, with nothing left.
        """
        clock = asyncio.get_running_loop().time
        began, self.ready = clock(), None
        end = began + self.left
        with waiting_for(circuits, probes=probes) as waiter:
            if circuits and not waiter.in_line:
                _log.warning("too many streams wait for a circuit", circuits=len(circuits))
            while self.ready is None and waiter.in_line:
                first = min(circuits, key=lambda each: each.retry_after)
                if clock() + first.retry_after >= end:
                    break
                if self.notice_due():
                    yield first
                self.ready = await waiter.turn(min(self._noticed_at + self._beat, end) - clock())
        self._seconds -= clock() - began if self.ready is not None else self._seconds
