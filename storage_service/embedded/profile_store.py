"""The ProfileStore in SQLite."""

from collections.abc import Collection, Sequence

from storage_service.embedded import profile_rows
from storage_service.embedded.database import Database
from storage_service.ports import Clock
from storage_service.records import Position, Profile, RepeatKey


class SqliteProfileStore:
    """Keeps children and heroes in a database of SQLite that is open; see ProfileStore for the methods."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, owner: str, profile: Profile, repeat: RepeatKey | None) -> Profile:
        """Keeps a profile, or finds the kept one."""
        return await self._database.write(
            lambda connection: profile_rows.create_profile(connection, owner, profile, repeat, self._clock.now())
        )

    async def get(self, owner: str, kind: type[Profile], profile_id: str) -> Profile:
        """A profile."""
        return await self._database.read(
            lambda connection: profile_rows.load_profile(connection, owner, kind, profile_id)
        )

    async def list_page(
        self, owner: str, kind: type[Profile], *, limit: int, after: Position | None
    ) -> Sequence[Profile]:
        """A page of profiles."""
        return await self._database.read(
            lambda connection: profile_rows.list_profiles(connection, owner, kind, limit, after)
        )

    async def update(
        self, owner: str, change: Profile, fields: Collection[str], *, expected_revision: int | None
    ) -> Profile:
        """Changes a profile."""
        return await self._database.write(
            lambda connection: profile_rows.update_profile(
                connection, owner, change, fields, expected_revision, self._clock.now()
            )
        )

    async def delete(self, owner: str, kind: type[Profile], profile_id: str) -> None:
        """Removes a profile."""
        await self._database.write(
            lambda connection: profile_rows.delete_profile(connection, owner, kind, profile_id, self._clock.now())
        )
