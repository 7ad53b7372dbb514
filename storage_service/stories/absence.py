"""Holds back claims of expired leases after storage was away, so that runs still at work renew theirs first."""

from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar

import structlog

from storage_service.ports import Clock

T = TypeVar("T")

_log: Final = structlog.stdlib.get_logger("storage_service.stories.absence")

_SECOND: Final = 1_000_000
_LONGEST_HOLD: Final = 3 * _SECOND
"""More than a gateway takes to connect and to renew the leases of its runs."""
_SHORTEST_GAP: Final = _SECOND
"""Calls that fail for less than this leave no lease to expire; clocks are adjusted by less all the time."""


class Absence:
    """When leases could not be renewed: before this process served, while its store failed, when its clock was set.

    So it is while one piece of work, such as maintenance, holds up the store; `end` is called after that. A lease that
    expired meanwhile says nothing about its run. For a while after it, at most 3 s and half of a lease, only stories
    without a lease are to be claimed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.now() - clock.steady()
        self._back = self._written = clock.steady()
        self._failed: int | None = None
        """The last failure, unless something was written since."""

    def end(self) -> None:
        """Notes that storage is back now."""
        self._back = self._written = self._clock.steady()
        self._failed = None

    def holds_back(self, lease: int) -> bool:
        """Returns True where no expired lease may be claimed yet by a run that asks for `lease`."""
        self._check_clock()
        hold = min(_LONGEST_HOLD, lease // 2)
        since = self._back if self._failed is None else max(self._back, self._failed)
        return self._clock.steady() < since + hold

    async def observe(self, call: Awaitable[Sequence[T]]) -> Sequence[T]:
        """Returns what a call that renews or takes leases returns; where it raises, the store is away.

        An empty answer says little: a disk that is full can be read.
        """
        try:
            result = await call
        except Exception:
            self._failed = self._clock.steady()
            raise
        if result:
            if self._failed is not None and self._clock.steady() - self._written >= _SHORTEST_GAP:
                _log.info("store back and expired leases held")
                self.end()
            self._failed, self._written = None, self._clock.steady()
        return result

    def _check_clock(self) -> None:
        offset = self._clock.now() - self._clock.steady()
        if abs(offset - self._offset) >= _SHORTEST_GAP:
            _log.warning("clock set", seconds=round((offset - self._offset) / _SECOND, 3))
            self.end()
        self._offset = offset
