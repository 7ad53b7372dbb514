"""A second call for one whose first token or byte is late: the first of the two that begins is used."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

_SAMPLES: Final = 200
_ENOUGH: Final = 20
_SHARE: Final = 0.95


class ResponseTimes:
    """Seconds to the first token or byte of the last calls to a provider, or of the longest pauses in its answers.

    A call that was given up counts with the time until then, so that late calls do not vanish from the figures.
    """

    def __init__(self, late: float, *, shortest: float = 0.5, factor: float = 1.0) -> None:
        """`late` are the seconds after which a call is late until enough calls are known.

        Then it is `factor` times what nineteen of twenty took at most, and at least `shortest`.
        """
        self._late = late
        self._shortest = shortest
        self._factor = factor
        self._seconds: deque[float] = deque(maxlen=_SAMPLES)

    def add(self, seconds: float) -> None:
        """Counts a call."""
        self._seconds.append(seconds)

    @property
    def late(self) -> float:
        """Seconds after which a call is late."""
        if len(self._seconds) < _ENOUGH:
            return max(self._shortest, self._late)
        ordered = sorted(self._seconds)
        return max(self._shortest, self._factor * ordered[int(_SHARE * (len(ordered) - 1))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """Has a call that is late made once more. `on_second` is called when the second one is sent."""

    times: ResponseTimes
    on_second: Callable[[], None] = lambda: None


class Racer:
    """One of the two calls."""

    def __init__(
        self,
        make: Callable[[Racer], Coroutine[Any, Any, Any]],
        times: ResponseTimes,
        noted: asyncio.Event,
        on_sent: Callable[[], None] = lambda: None,
    ) -> None:
        """`noted` is set when the call is sent, begins to answer or ends."""
        self._on_sent = on_sent
        self._times = times
        self._noted = noted
        self._clock = asyncio.get_running_loop().time
        self._sent_at: float | None = None
        self.answers = False
        self.task = asyncio.create_task(make(self), name="call")
        self.task.add_done_callback(lambda _: noted.set())

    def sent(self) -> None:
        """Notes that the call is made now."""
        self._sent_at = self._clock()
        self._on_sent()
        self._noted.set()

    def answered(self) -> None:
        """Notes the first token or byte."""
        self._count()
        self.answers = True
        self._noted.set()

    @property
    def was_sent(self) -> bool:
        """Whether the call was made."""
        return self._sent_at is not None

    @property
    def decided(self) -> bool:
        """Whether it has begun to answer, or ended."""
        return self.answers or self.task.done()

    async def is_late(self) -> bool:
        """Returns False when it has begun to answer or ended, True when that takes too long."""
        while not self.decided:
            self._noted.clear()
            try:
                async with asyncio.timeout_at(None if self._sent_at is None else self._sent_at + self._times.late):
                    await self._noted.wait()
            except TimeoutError:
                return True
        return False

    async def give_up(self) -> None:
        """Cancels the call, and returns when it has ended."""
        if not self.task.done():
            if not self.answers:
                self._count()
            self.task.cancel()
            await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.exception()  # the result that counts is that of the other one

    def _count(self) -> None:
        if self._sent_at is not None:
            self._times.add(self._clock() - self._sent_at)


async def race(make: Callable[[Racer, bool], Coroutine[Any, Any, T]], hedge: Hedge, may_hedge: Callable[[], bool]) -> T:
    """Returns what `make` returns, which is called once more where its call is late and `may_hedge`.

    `make` gets what to notify of its call, and whether it is the second. The call that is not used is cancelled. Where
    one fails the other is awaited if it was sent.
    """
    noted = asyncio.Event()
    racers = [Racer(lambda racer: make(racer, False), hedge.times, noted)]
    try:
        used = first = racers[0]
        if await first.is_late() and may_hedge():
            second = Racer(lambda racer: make(racer, True), hedge.times, noted, hedge.on_second)
            racers.append(second)
            used = await _winner(first, second, noted)
            await (second if used is first else first).give_up()
        result: T = await used.task
        return result
    finally:
        for racer in racers:
            await racer.give_up()


async def _winner(first: Racer, second: Racer, noted: asyncio.Event) -> Racer:
    """Returns the call that begins first; where both fail, the second one if it was made."""
    while True:
        noted.clear()
        if first.answers or second.answers:
            return first if first.answers else second
        if first.task.done() and (second.task.done() or not second.was_sent):
            return second if second.was_sent else first
        await noted.wait()
