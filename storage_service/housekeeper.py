"""What is done from time to time: old stories, bytes that nothing refers to, and what removals leave behind."""

import asyncio
import time
from datetime import timedelta
from typing import Final

import structlog

from servicekit.errors import DomainError
from servicekit.failures import log_defect
from storage_service.audio.segments import SegmentLibrary
from storage_service.ports import Clock
from storage_service.remover import Remover

_log: Final = structlog.stdlib.get_logger("storage_service.housekeeper")

_MOSTLY_IDLE: Final = 50
"""After a scrub the store is left alone for so many times as long as it took."""


class Housekeeper:
    """Removes what is to go, at its times by `run` or when called.

    `retention` is how long stories are stored (None: for good).
    """

    def __init__(
        self, remover: Remover, segments: SegmentLibrary, clock: Clock, *, retention: timedelta | None
    ) -> None:
        self._remover = remover
        self._segments = segments
        self._clock = clock
        self._retention = retention

    async def run(self, *, sweep_seconds: float, scrub_seconds: float) -> None:
        """Sweeps and scrubs, now and at these intervals, until cancelled. What cannot be done now is tried again."""
        sweep_due = time.monotonic()
        while True:
            began = time.monotonic()
            try:
                if began >= sweep_due:
                    sweep_due = began + sweep_seconds
                    await self.sweep()
                    began = time.monotonic()
                await self.scrub()
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not be the last round
                _put_off(error)
            pause = max(scrub_seconds, _MOSTLY_IDLE * (time.monotonic() - began))
            await asyncio.sleep(min(pause, max(0.0, sweep_due - time.monotonic())))

    async def sweep(self) -> None:
        """Removes stories beyond their time, bytes that nothing refers to, and segments beyond their bound."""
        if self._retention is not None:
            expired = await self._remover.expire(self._clock.now() - _microseconds(self._retention))
            if expired:
                _log.info("old stories were removed", stories=expired)
        objects = await self._remover.remove_deleted()
        if objects:
            _log.info("bytes that nothing refers to were removed", objects=objects)
        await self._segments.make_room()

    async def scrub(self) -> None:
        """Leaves nothing of what was removed in the store's files."""
        await self._remover.scrub()


def _put_off(error: Exception) -> None:
    """Logs why housekeeping could not be done this time; the next round tries again."""
    if isinstance(error, DomainError):
        _log.warning("housekeeping waits", reason=error.reason)
    else:
        log_defect(error)


def _microseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
