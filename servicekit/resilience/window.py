"""Counts of the last so-many seconds, in a fixed amount of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_SLICES: Final = 10


@dataclass(slots=True)
class Tally:
    """Calls, and those of them that failed or were slow."""

    calls: int = 0
    failures: int = 0
    slow: int = 0


class SlidingWindow:
    """The calls of the last `seconds`, to a tenth of it; `now` is any clock that never goes back, in seconds."""

    def __init__(self, seconds: float) -> None:
        self._slice_seconds = seconds / _SLICES
        self._slices: dict[int, Tally] = {}

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        """Counts a call that ended now."""
        index = self._forget(now)
        tally = self._slices.setdefault(index, Tally())
        tally.calls += 1
        tally.failures += failed
        tally.slow += slow

    def total(self, now: float) -> Tally:
        """Returns the sums."""
        self._forget(now)
        tallies = self._slices.values()
        return Tally(
            calls=sum(tally.calls for tally in tallies),
            failures=sum(tally.failures for tally in tallies),
            slow=sum(tally.slow for tally in tallies),
        )

    def clear(self) -> None:
        """Starts over."""
        self._slices.clear()

    def _forget(self, now: float) -> int:
        index = int(now // self._slice_seconds)
        for old in [each for each in self._slices if each <= index - _SLICES]:
            del self._slices[old]
        return index
