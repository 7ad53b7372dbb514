"""Removes what is to go: stories and children when asked, old stories and stray bytes from time to time."""

import asyncio
import time
from datetime import timedelta
from typing import Final

import structlog

from servicekit.errors import DomainError
from servicekit.logging import log_defect
from storage_service.audio.noted import NotedObjects
from storage_service.audio.segments import SegmentLibrary
from storage_service.ports import Clock, RemovalStore, StoryStore
from storage_service.records import RemovalResult

_log: Final = structlog.stdlib.get_logger("storage_service.stories.housekeeper")

_STORIES_AT_ONCE: Final = 100
_MOSTLY_IDLE: Final = 50
"""After a scrub the store is left alone for so many times as long as it took."""


class Housekeeper:
    """Removes what is to go, at its times by `run` or when called.

    `retention` is how long stories are stored (None: for good).
    """

    def __init__(
        self,
        removals: RemovalStore,
        objects: NotedObjects,
        segments: SegmentLibrary,
        clock: Clock,
        *,
        retention: timedelta | None,
    ) -> None:
        self._removals = removals
        self._objects = objects
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
            await self._expire(self._clock.now() - self._retention // timedelta(microseconds=1))
        objects = await self._objects.remove_deleted()
        if objects:
            # Most are places that were reserved for bytes that never came; after each restart there are some.
            _log.debug("unreferenced audio deleted", objects=objects)
        await self._segments.make_room()

    async def scrub(self) -> None:
        """Leaves nothing of what was removed in the store's files."""
        await self._removals.scrub()

    async def _expire(self, before: int) -> None:
        while (removed := await self._removals.expire(before, most=_STORIES_AT_ONCE)).story_count:
            await self._objects.drop(removed.dropped)
            _log.info("old stories removed", stories=removed.story_count)


def _put_off(error: Exception) -> None:
    """Logs why housekeeping could not be done this time; the next round tries again."""
    if isinstance(error, DomainError):
        _log.warning("housekeeping deferred", reason=error.reason)
    else:
        log_defect(error)


class Remover:
    """Removes from stores that are open. Bytes that cannot be removed now stay marked as deleted and go later."""

    def __init__(self, stories: StoryStore, removals: RemovalStore, objects: NotedObjects) -> None:
        self._stories = stories
        self._removals = removals
        self._objects = objects

    async def delete_story(self, owner: str, story_id: str) -> None:
        """Removes a story, then its bytes; STORY_NOT_FOUND."""
        await self._objects.drop(await self._stories.delete(owner, story_id))

    async def erase_child(self, owner: str, child_id: str) -> RemovalResult:
        """Removes a child, all its stories and their bytes; at the end leaves no trace in the store's files.

        Raises CHILD_NOT_FOUND, and UNAVAILABLE where bytes or traces could not be removed: the next call does it.
        """
        erased = await self._removals.erase_child(owner, child_id)
        await self._objects.remove(erased.dropped)
        await self._removals.scrub()
        return erased
