"""The ProfileStore in Supabase."""

from collections.abc import Collection, Sequence

from servicekit.ids import new_id
from storage_service.records import Position, Profile, RepeatKey
from storage_service.supabase import refusals
from storage_service.supabase.connection import Connection
from storage_service.supabase.filters import from_position
from storage_service.supabase.profile_rows import from_profile, kind_of, to_profile
from storage_service.supabase.rows import from_repeat


class SupabaseProfileStore:
    """Stores children and heroes in the schema `tales`; see ProfileStore for the methods."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, owner: str, profile: Profile, repeat: RepeatKey | None) -> Profile:
        """Stores a profile, or finds the stored one."""
        kind = type(profile)
        # Made here, so that the call can be repeated.
        profile_id = new_id()
        answer = await self._connection.rpc(
            "create_profile",
            owner=owner,
            kind=kind_of(kind),
            id=profile_id,
            profile=from_profile(profile),
            request=from_repeat(f"Create{kind.DESCRIPTOR.name}", repeat),
            now=self._connection.now(),
        )
        refusals.check(answer, profile_id, noun=kind_of(kind))
        return to_profile(kind, answer)

    async def get(self, owner: str, kind: type[Profile], profile_id: str) -> Profile:
        """A profile."""
        answer = await self._connection.rpc("get_profile", owner=owner, kind=kind_of(kind), id=profile_id)
        refusals.check(answer, profile_id, noun=kind_of(kind))
        return to_profile(kind, answer)

    async def list_page(
        self, owner: str, kind: type[Profile], *, limit: int, after: Position | None
    ) -> Sequence[Profile]:
        """A page of profiles."""
        page = await self._connection.rpc(
            "list_profiles", owner=owner, kind=kind_of(kind), limit=limit, after=from_position(after)
        )
        return [to_profile(kind, row) for row in page]

    async def update(
        self, owner: str, change: Profile, fields: Collection[str], *, expected_revision: int | None
    ) -> Profile:
        """Changes a profile."""
        kind = type(change)
        answer = await self._connection.rpc(
            "update_profile",
            safe=expected_revision is None,
            owner=owner,
            kind=kind_of(kind),
            id=change.id,
            change=from_profile(change, fields),
            expected_revision=expected_revision,
            now=self._connection.now(),
        )
        refusals.check(answer, change.id, noun=kind_of(kind))
        return to_profile(kind, answer)

    async def delete(self, owner: str, kind: type[Profile], profile_id: str) -> None:
        """Removes a profile."""
        answer = await self._connection.rpc(
            "delete_profile", safe=False, owner=owner, kind=kind_of(kind), id=profile_id, now=self._connection.now()
        )
        refusals.check(answer, profile_id, noun=kind_of(kind))
