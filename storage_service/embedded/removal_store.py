"""The RemovalStore in SQLite."""

from collections.abc import Collection, Sequence

from storage_service.embedded import removing
from storage_service.embedded.database import Database
from storage_service.ports import Clock
from storage_service.records import AudioKey, Erased, Removed
from tale.storage.v1 import storage_pb2


class SqliteRemovalStore:
    """Removes from a database of SQLite that is open; see RemovalStore for the methods."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def erase_child(self, owner: str, child_id: str, *, most: int) -> Erased:
        """Removes a child and some of its stories."""
        return await self._database.write(
            lambda connection: removing.erase_child(connection, owner, child_id, most, self._clock.now())
        )

    async def expire(self, before: int, *, most: int) -> Sequence[Removed]:
        """Removes old stories."""
        return await self._database.write(
            lambda connection: removing.expire_stories(connection, before, most, self._clock.now())
        )

    async def files_to_remove(self, *, most: int) -> Sequence[AudioKey]:
        """Files of removed stories."""
        return await self._database.read(lambda connection: removing.files_to_remove(connection, most))

    async def files_removed(self, story_ids: Collection[str]) -> None:
        """Notes that files are gone."""
        await self._database.write(lambda connection: removing.files_removed(connection, story_ids))

    async def list_forgettable(self, owner: str, child_id: str, *, most: int) -> Sequence[storage_pb2.ForgettableStory]:
        """Removed stories that caches are to forget."""
        return await self._database.read(
            lambda connection: removing.list_forgettable(connection, owner, child_id, most, self._clock.now())
        )

    async def confirm_forgotten(self, story_ids: Collection[str]) -> None:
        """Notes that caches have forgotten stories."""
        await self._database.write(
            lambda connection: removing.confirm_forgotten(connection, story_ids, self._clock.now())
        )

    async def scrub(self) -> None:
        """Leaves nothing of what was removed in the file."""
        await self._database.scrub()
