"""The RemovalStore in SQLite."""

from collections.abc import Sequence

from storage_service.embedded import removing
from storage_service.embedded.database import Database
from storage_service.ports import Clock
from storage_service.records import Erased, Removed


class SqliteRemovalStore:
    """Removes from a database of SQLite that is open; see RemovalStore for the methods."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def erase_child(self, owner: str, child_id: str) -> Erased:
        """Removes a child and its stories."""
        return await self._database.write(
            lambda connection: removing.erase_child(connection, owner, child_id, self._clock.now())
        )

    async def expire(self, before: int, *, most: int) -> Sequence[Removed]:
        """Removes old stories."""
        return await self._database.write(
            lambda connection: removing.expire_stories(connection, before, most, self._clock.now())
        )

    async def scrub(self) -> None:
        """Leaves nothing of what was removed in the file."""
        await self._database.scrub()
