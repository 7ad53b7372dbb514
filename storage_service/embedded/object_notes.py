"""The ObjectNotes in SQLite."""

from collections.abc import Collection, Sequence

from storage_service.embedded import object_rows
from storage_service.embedded.database import Database
from storage_service.ports import Clock
from storage_service.records import ObjectKey, ObjectKind


class SqliteObjectNotes:
    """Notes objects in a database of SQLite that is open; see ObjectNotes for the methods."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def note(self, kind: ObjectKind, count: int) -> Sequence[ObjectKey]:
        """New objects."""
        return await self._database.write(
            lambda connection: object_rows.note_objects(connection, kind, count, self._clock.now())
        )

    async def mark_deleted(self, keys: Collection[ObjectKey]) -> Collection[ObjectKey]:
        """Gives objects up."""
        return await self._database.write(
            lambda connection: object_rows.mark_deleted(connection, keys, self._clock.now())
        )

    async def take_deleted(self, *, grace: int, most: int) -> Sequence[ObjectKey]:
        """Objects whose bytes are to be removed."""
        before = self._clock.now() - grace
        if not await self._database.read(lambda connection: object_rows.anything_to_take(connection, before)):
            return []
        return await self._database.write(lambda connection: object_rows.take_deleted(connection, before, most))

    async def remove_notes(self, keys: Collection[ObjectKey]) -> None:
        """Removes notes."""
        await self._database.write(lambda connection: object_rows.remove_notes(connection, keys))
