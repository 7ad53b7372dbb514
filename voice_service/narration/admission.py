"""Admits narrations in the order of their arrival, as many at a time as their providers and this process can serve."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import Counter, defaultdict
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Final

from servicekit.errors import DomainError
from voice_service.narration.errors import waiting_for_place

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from voice_service.metrics import VoiceMetrics
    from voice_service.narration.messages import Warned

_FOR_EACH_CALL: Final = 5
"""Narrations that are admitted for each call that may be made at once: enough that none of them is made in vain."""
_MOST_WAITING: Final = 4096
_RETRY_AFTER: Final = 30.0
_SLOW_SECONDS: Final = 1.0
"""Seconds after which a caller that does not take a segment gives up its place until it does."""


class LoopLoad:
    """How many narrations the event loop can serve at a time, by how late it is.

    One more with each measurement that finds it in time while all places are taken; a fifth less where it is late.
    """

    LATE: Final = 0.1
    """Seconds of delay that mean the loop has too much to do."""
    INTERVAL: Final = 0.25
    """Seconds between two measurements."""

    def __init__(self, *, first: int = 64, least: int = 8, most: int = 512) -> None:
        self._least = least
        self._most = most
        self._limit = float(first)

    @property
    def limit(self) -> int:
        """Narrations that may be admitted at a time, now."""
        return int(self._limit)

    def measured(self, late: float, admitted: int) -> None:
        """Notes that the loop was `late` by so many seconds while so many narrations were admitted."""
        if late > self.LATE:
            # From what there is: a limit that is not reached has no effect on the delay.
            self._limit = max(float(self._least), 0.8 * min(self._limit, max(admitted, self._least)))
        elif admitted >= self.limit:
            self._limit = min(float(self._most), self._limit + 1)


class Place:
    """The place of one narration in the order of arrival; left by `leave`, for good or until it is taken again."""

    def __init__(self, admission: Admission, number: int) -> None:
        self.number: Final = number
        """The older a narration, the smaller its number."""
        self._admission = admission
        self._provider = ""
        self._admitted = asyncio.Event()

    async def take(self, provider: str) -> AsyncGenerator[Warned, None]:
        """Returns once the narration is admitted; yields warnings while that takes long.

        Raises RESOURCE_EXHAUSTED / OVERLOADED where too many narrations wait already.
        """
        if self._provider:
            return
        self._admission.enter(self, provider)
        self._provider = provider
        beat = self._admission.first_beat
        while not self._admitted.is_set():
            try:
                async with asyncio.timeout(beat):
                    await self._admitted.wait()
            except TimeoutError:
                yield waiting_for_place(provider)
            beat = self._admission.beat

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Leaves the place where the block takes long: a caller that is slow to take its audio holds up no other."""
        handle = asyncio.get_running_loop().call_later(_SLOW_SECONDS, self.leave)
        try:
            yield
        finally:
            handle.cancel()

    def admit(self) -> None:
        """Ends the wait."""
        self._admitted.set()

    def leave(self) -> None:
        """Makes room for the next one. A narration that comes back is admitted before those that arrived after it."""
        if self._provider:
            self._admission.leave(self, self._provider, admitted=self._admitted.is_set())
            self._provider = ""
            self._admitted.clear()


class Admission:
    """The places of all narrations of this process.

    A provider has five times as many as calls may be made to it at once; all together have as many as `load` allows.
    Those who wait are admitted in the order of their arrival, where their provider has room.
    """

    def __init__(
        self,
        calls_at_once: Callable[[str], int],
        metrics: VoiceMetrics,
        *,
        load: LoopLoad | None = None,
        first_beat: float = 10.0,
        beat: float = 20.0,
    ) -> None:
        """`calls_at_once` returns a provider's present concurrency limit, by its name.

        `first_beat` and `beat` are seconds until the first warning of one that waits, and between two of them.
        """
        self._calls_at_once = calls_at_once
        self._metrics = metrics
        self._load = load or LoopLoad()
        self.first_beat: Final = first_beat
        self.beat: Final = beat
        self._numbers = count()
        self._waiting: defaultdict[str, list[Place]] = defaultdict(list)
        self._admitted = Counter[str]()
        self._measuring: asyncio.Task[None] | None = None

    def arrive(self) -> Place:
        """Returns the place of a narration that has come."""
        return Place(self, next(self._numbers))

    def enter(self, place: Place, provider: str) -> None:
        """Puts a narration in line. Raises RESOURCE_EXHAUSTED / OVERLOADED."""
        if sum(map(len, self._waiting.values())) >= _MOST_WAITING:
            raise DomainError("OVERLOADED", "Too many narrations wait for a place.", retry_after=_RETRY_AFTER)
        insort(self._waiting[provider], place, key=lambda each: each.number)
        self._admit()
        if self._measuring is None or self._measuring.done():
            self._measuring = asyncio.create_task(self._measure(), name="load of the event loop")

    def leave(self, place: Place, provider: str, *, admitted: bool) -> None:
        """Takes a narration out of the line, or off its place."""
        if admitted:
            self._admitted[provider] -= 1
        else:
            self._waiting[provider].remove(place)
        self._admit()

    async def aclose(self) -> None:
        """Stops measuring."""
        if self._measuring is not None:
            self._measuring.cancel()
            await asyncio.wait([self._measuring])

    def _admit(self) -> None:
        """Admits those that there is room for, the oldest first."""
        while self._admitted.total() < self._load.limit:
            heads = [
                (places[0].number, provider)
                for provider, places in self._waiting.items()
                if places and self._admitted[provider] < _FOR_EACH_CALL * self._calls_at_once(provider)
            ]
            if not heads:
                break
            _, provider = min(heads)
            self._admitted[provider] += 1
            self._waiting[provider].pop(0).admit()
        self._metrics.admitted(self._admitted.total(), waiting=sum(map(len, self._waiting.values())))

    async def _measure(self) -> None:
        """Measures how late the event loop is, as long as there are narrations."""
        clock = asyncio.get_running_loop().time
        while self._admitted.total() or any(self._waiting.values()):
            due = clock() + LoopLoad.INTERVAL
            await asyncio.sleep(LoopLoad.INTERVAL)
            self._load.measured(clock() - due, self._admitted.total())
            self._admit()
