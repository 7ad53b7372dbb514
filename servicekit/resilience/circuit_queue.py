"""The queue of a circuit breaker: calls that wait until it lets one through, in order of arrival.

One timer a circuit, however many wait::

    with waiting_for([breaker]) as waiter:
        while (ready := await waiter.turn(20.0)) is None:
            ...                         # still in the queue
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from servicekit.resilience.errors import ProviderError, ProviderErrorKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
        """Adds `waiter` for as long as the block lasts. Raises ProviderError CONCURRENCY where too many wait."""
        if len(self._waiters) >= _MOST_WAITING:
            raise ProviderError(
                ProviderErrorKind.CONCURRENCY, "too many calls wait for it", provider=self._circuit.provider
            )
        self._waiters[waiter] = None
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

    A caller whose call is never a probe (not `probes`) is woken only when a circuit is closed. Raises ProviderError
    CONCURRENCY where too many wait already.
    """
    waiter = Waiter(probes=probes)
    with ExitStack() as stack:
        for circuit in circuits:
            stack.enter_context(circuit.queue.holds(waiter))
        yield waiter
