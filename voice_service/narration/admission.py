"""Admits narrations round robin by owner, as many at a time as their providers and this process can serve."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import defaultdict
from contextlib import contextmanager
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from servicekit.context import present_owner
from servicekit.errors import DomainError
from servicekit.resilience.fairness import FairTurns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from voice_service.metrics import VoiceMetrics

_FOR_EACH_CALL: Final = 5
"""Narrations that are admitted for each call that may be made at once: enough that none of them is made in vain."""
_MOST_WAITING: Final = 4096
_RETRY_AFTER: Final = 30.0
_SLOW_SECONDS: Final = 1.0
"""Seconds after which a caller that does not take a segment gives up its place until it does."""
_AGE: Final = attrgetter("turn", "number")


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

    def __init__(self, admission: Admission, number: int, owner: str, turn: int) -> None:
        self.number: Final = number
        self.owner: Final = owner
        self.turn: Final = turn
        """The older a narration among those of its owner, the smaller its turn; of equal ones the number counts."""
        self.admitted = False
        """Whether more of it may be made now; an older narration that needs the place can end that."""
        self.provider = ""
        """That at which it has a place, or waits for one; "" for none."""
        self._admission = admission
        self._changed: Callable[[], None] = lambda: None

    def take(self, provider: str, changed: Callable[[], None]) -> None:
        """Has the narration admitted at a provider, and at no other; `changed` is called when it is.

        It is called as well when the provider's circuit opens. Raises RESOURCE_EXHAUSTED / OVERLOADED where too many
        narrations wait already.
        """
        if self.provider != provider:
            self.leave()
            self._changed = changed
            self._admission.enter(self, provider)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Leaves the place where the block takes long: a caller that is slow to take its audio holds up no other."""
        handle = asyncio.get_running_loop().call_later(_SLOW_SECONDS, self.leave)
        try:
            yield
        finally:
            handle.cancel()

    def set_admitted(self, *, admitted: bool) -> None:
        """Is called by the admission."""
        self.admitted = admitted
        self._changed()

    def nudge(self) -> None:
        """Has the narration look whether another provider can speak it sooner."""
        self._changed()

    def leave(self) -> None:
        """Makes room for the next one. A narration that comes back is admitted before those that arrived after it."""
        if self.provider:
            self._admission.leave(self)

    def end(self) -> None:
        """Leaves the place for good."""
        self.leave()
        self._admission.turns.leave(self.owner, self.turn)


class Admission:
    """The places of all narrations of this process.

    A provider has five times as many as calls may be made to it at once; all together have as many as `load` allows.
    They belong to the oldest narrations that have something to be made: one that comes back takes that of the youngest.
    Owners take turns: of two with many narrations each has half of the places, and a single one is soon served.
    """

    def __init__(
        self,
        calls_at_once: Callable[[str], int],
        metrics: VoiceMetrics,
        *,
        is_closed: Callable[[str], bool] = lambda _: True,
        load: LoopLoad | None = None,
    ) -> None:
        """Both by a provider's name: its present concurrency limit, and whether its circuit is closed."""
        self._calls_at_once = calls_at_once
        self._is_closed = is_closed
        self._metrics = metrics
        self._load = load or LoopLoad()
        self.turns: Final = FairTurns()
        self._numbers = count()
        self._waiting: defaultdict[str, list[Place]] = defaultdict(list)
        self._admitted: defaultdict[str, list[Place]] = defaultdict(list)
        self._open = set[str]()
        self._measuring: asyncio.Task[None] | None = None

    def arrive(self) -> Place:
        """Returns the place of a narration that has come."""
        owner = present_owner()
        return Place(self, next(self._numbers), owner, self.turns.take(owner))

    def enter(self, place: Place, provider: str) -> None:
        """Puts a narration in line. Raises RESOURCE_EXHAUSTED / OVERLOADED."""
        if _total(self._waiting) >= _MOST_WAITING:
            raise DomainError("OVERLOADED", "Too many narrations wait for a place.", retry_after=_RETRY_AFTER)
        place.provider = provider
        insort(self._waiting[provider], place, key=_AGE)
        self._admit()
        if self._measuring is None or self._measuring.done():
            self._measuring = asyncio.create_task(self._measure(), name="load of the event loop")

    def leave(self, place: Place) -> None:
        """Takes a narration out of the line, or off its place."""
        (self._admitted if place.admitted else self._waiting)[place.provider].remove(place)
        place.provider, place.admitted = "", False
        self._admit()

    async def aclose(self) -> None:
        """Stops measuring."""
        if self._measuring is not None:
            self._measuring.cancel()
            await asyncio.wait([self._measuring])

    def _admit(self) -> None:
        """Admits those that there is room for or that are older than one admitted, the oldest first."""
        while heads := [line[0] for line in self._waiting.values() if line and self._may_enter(line[0])]:
            head = min(heads, key=_AGE)
            taken = self._admitted[head.provider]
            self._waiting[head.provider].pop(0)
            if not self._has_room(head.provider):
                youngest = taken.pop()
                insort(self._waiting[head.provider], youngest, key=_AGE)
                youngest.set_admitted(admitted=False)
            insort(taken, head, key=_AGE)
            head.set_admitted(admitted=True)
        self._metrics.admitted.set(_total(self._admitted))
        self._metrics.waiting.set(_total(self._waiting))

    def _may_enter(self, place: Place) -> bool:
        taken = self._admitted[place.provider]
        return self._has_room(place.provider) or (bool(taken) and _AGE(taken[-1]) > _AGE(place))

    def _has_room(self, provider: str) -> bool:
        at_most = _FOR_EACH_CALL * self._calls_at_once(provider)
        return len(self._admitted[provider]) < at_most and _total(self._admitted) < self._load.limit

    async def _measure(self) -> None:
        """Measures how late the event loop is, as long as there are narrations, and notices circuits that open."""
        clock = asyncio.get_running_loop().time
        while _total(self._admitted) or _total(self._waiting):
            due = clock() + LoopLoad.INTERVAL
            await asyncio.sleep(LoopLoad.INTERVAL)
            self._load.measured(clock() - due, _total(self._admitted))
            self._admit()
            were_open, self._open = self._open, {each for each in self._waiting if not self._is_closed(each)}
            for provider in self._open - were_open:
                for place in self._waiting[provider]:
                    place.nudge()


def _total(places: Mapping[str, list[Place]]) -> int:
    return sum(map(len, places.values()))
