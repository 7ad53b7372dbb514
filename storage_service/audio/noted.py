"""Objects that are noted before their first byte, and the removal of those that nothing refers to."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import grpc
import structlog

from servicekit.errors import DomainError
from servicekit.waiting import Finisher
from storage_service.ports import ObjectNotes, ObjectStore
from storage_service.records import ObjectKey, ObjectKind

_log: Final = structlog.stdlib.get_logger("storage_service.audio")

GRACE: Final = 3_600 * 1_000_000
"""Microseconds after which an object that was noted and not stored is removed."""

_AHEAD: Final = {ObjectKind.SEGMENT: 32, ObjectKind.AUDIO: 4}
"""Objects noted in one transaction."""

_FRESH_SECONDS: Final = 1_200.0
"""No upload starts for an older note: it has the rest of the grace to end."""

_AT_ONCE: Final = 500


class NotedObjects:
    """Hands out noted objects and removes bytes, over one object store for each kind."""

    def __init__(self, notes: ObjectNotes, stores: Mapping[ObjectKind, ObjectStore]) -> None:
        self._notes = notes
        self._stores = stores
        self._ahead: dict[ObjectKind, deque[tuple[ObjectKey, float]]] = {kind: deque() for kind in ObjectKind}
        self._noting = {kind: asyncio.Lock() for kind in ObjectKind}
        # Bounded by the calls that are cancelled during their write.
        self._finisher = Finisher()

    @asynccontextmanager
    async def new(self, kind: ObjectKind) -> AsyncGenerator[ObjectKey, None]:
        """Yields an object to store bytes as; it is given up where the block fails or is cancelled."""
        key = await self._take(kind)
        try:
            yield key
        except asyncio.CancelledError:
            # The caller is gone, but a write that has started continues: its bytes are removed once it has ended.
            self._finisher.start(self._give_up_later(key))
            raise
        except Exception as error:
            if isinstance(error, DomainError) and error.code is grpc.StatusCode.UNAVAILABLE:
                # A write without an answer may yet arrive, so the removal waits for the next sweep.
                await self._mark([key])
            else:
                await self.give_up(key)
            raise

    async def give_up(self, key: ObjectKey) -> None:
        """Removes an object that is not stored. What cannot be removed now is removed later."""
        await self.drop(await self._mark([key]))

    async def give_up_all(self) -> None:
        """Makes all that is noted DELETED. For the start of a store that has one process: no other is writing."""
        await self._notes.take_deleted(grace=-1, most=1)

    async def drop(self, keys: Collection[ObjectKey]) -> None:
        """Removes the bytes of objects that are DELETED. What cannot be removed now is removed later."""
        try:
            await self.remove(keys)
        except DomainError as error:
            _log.warning("deleted objects not removed yet", objects=len(keys), reason=error.reason)

    async def remove(self, keys: Collection[ObjectKey]) -> None:
        """Removes the bytes of objects that are DELETED; raises what the stores raise for those that stay."""
        failure: DomainError | None = None
        for kind, store in self._stores.items():
            gone, failed = await _remove_each(store, [key for key in keys if key.kind is kind])
            failure = failed or failure
            if gone:
                await self._notes.remove_notes(gone)
        if failure is not None:
            raise failure

    async def remove_deleted(self) -> int:
        """Removes all objects that are DELETED, and those that were noted long ago and never stored; how many.

        Raises what the stores raise for those that stay, after all others are removed.
        """
        count, failure, after = 0, None, ""
        while keys := await self._notes.take_deleted(grace=GRACE, most=_AT_ONCE, after=after):
            after = keys[-1].object_id
            try:
                await self.remove(keys)
                count += len(keys)
            except DomainError as error:
                failure = error
        if failure is not None:
            raise failure
        return count

    async def _mark(self, keys: Collection[ObjectKey]) -> Collection[ObjectKey]:
        try:
            return await self._notes.mark_deleted(keys)
        except DomainError as error:
            _log.warning("abandoned object not removed yet", reason=error.reason)
            return ()

    async def _give_up_later(self, key: ObjectKey) -> None:
        await self._stores[key.kind].settle()
        await self.give_up(key)

    async def _take(self, kind: ObjectKind) -> ObjectKey:
        ahead = self._ahead[kind]
        while True:
            while ahead:
                key, noted = ahead.popleft()
                # By the clock of the day, as the grace goes: a machine that slept has old notes.
                if 0 <= time.time() - noted < _FRESH_SECONDS:
                    return key
            async with self._noting[kind]:
                if not ahead:
                    began = time.time()
                    ahead.extend((key, began) for key in await self._notes.note(kind, _AHEAD[kind]))


async def _remove_each(store: ObjectStore, keys: Sequence[ObjectKey]) -> tuple[Sequence[ObjectKey], DomainError | None]:
    """Removes all of `keys` at once, or else one by one: which are gone, and why others are not."""
    failure: DomainError | None = None
    gone: list[ObjectKey] = []
    for part in ([keys] if keys else []) + [[key] for key in keys if len(keys) > 1]:
        try:
            await store.remove(part)
        except DomainError as error:
            failure = error
            continue
        if len(part) == len(keys):
            return keys, None
        gone += part
    return gone, failure
