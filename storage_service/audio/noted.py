"""Objects that are noted before their first byte, and the removal of those that nothing refers to."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from servicekit.errors import DomainError
from storage_service.ports import ObjectNotes, ObjectStore
from storage_service.records import ObjectKey, ObjectKind

_log: Final = structlog.stdlib.get_logger("storage_service.audio")

GRACE: Final = 3_600 * 1_000_000
"""Microseconds after which an object that was noted and not stored is removed."""

_AHEAD: Final = {ObjectKind.SEGMENT: 32, ObjectKind.AUDIO: 4}
"""Objects noted in one transaction."""

_FRESH_SECONDS: Final = 1_200.0
"""Notes that are older are not begun with: an upload has the rest of the grace to end."""

_AT_ONCE: Final = 500


class NotedObjects:
    """Hands out noted objects and removes bytes, over one object store for each kind."""

    def __init__(self, notes: ObjectNotes, stores: Mapping[ObjectKind, ObjectStore]) -> None:
        self._notes = notes
        self._stores = stores
        self._ahead: dict[ObjectKind, deque[tuple[ObjectKey, float]]] = {kind: deque() for kind in ObjectKind}
        self._noting = {kind: asyncio.Lock() for kind in ObjectKind}

    @asynccontextmanager
    async def new(self, kind: ObjectKind) -> AsyncGenerator[ObjectKey, None]:
        """An object to store bytes as; given up where the block fails."""
        key = await self._take(kind)
        try:
            yield key
        except Exception:
            await self.give_up(key)
            raise

    async def give_up(self, key: ObjectKey) -> None:
        """Removes an object that is not stored. What cannot be removed now is removed later."""
        try:
            await self.remove(await self._notes.mark_deleted([key]))
        except DomainError as error:
            _log.warning("an object that was given up stays for now", reason=error.reason)

    async def drop(self, keys: Collection[ObjectKey]) -> None:
        """Removes the bytes of objects that are DELETED. What cannot be removed now is removed later."""
        try:
            await self.remove(keys)
        except DomainError as error:
            _log.warning("bytes of deleted objects stay for now", objects=len(keys), reason=error.reason)

    async def remove(self, keys: Collection[ObjectKey]) -> None:
        """Removes the bytes of objects that are DELETED; raises what the stores raise."""
        for kind, store in self._stores.items():
            if chosen := [key for key in keys if key.kind is kind]:
                await store.remove(chosen)
        if keys:
            await self._notes.remove_notes(keys)

    async def remove_deleted(self) -> int:
        """Removes all objects that are DELETED, and those that were noted long ago and never stored; how many."""
        count = 0
        while keys := await self._notes.take_deleted(grace=GRACE, most=_AT_ONCE):
            await self.remove(keys)
            count += len(keys)
        return count

    async def _take(self, kind: ObjectKind) -> ObjectKey:
        ahead = self._ahead[kind]
        while True:
            while ahead:
                key, noted = ahead.popleft()
                if time.monotonic() - noted < _FRESH_SECONDS:
                    return key
            async with self._noting[kind]:
                if not ahead:
                    began = time.monotonic()
                    ahead.extend((key, began) for key in await self._notes.note(kind, _AHEAD[kind]))
