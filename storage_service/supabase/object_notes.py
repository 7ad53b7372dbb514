"""The ObjectNotes in Supabase."""

from collections.abc import Collection, Sequence

from servicekit.ids import new_id
from storage_service.records import ObjectKey, ObjectKind
from storage_service.supabase.connection import Connection
from storage_service.supabase.objects import from_keys, to_keys


class SupabaseObjectNotes:
    """Notes objects in the schema `tales`; see ObjectNotes for the methods."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def note(self, kind: ObjectKind, count: int) -> Sequence[ObjectKey]:
        """Notes new objects."""
        keys = [ObjectKey(kind, new_id()) for _ in range(count)]
        await self._connection.rpc(
            "note_objects", kind=kind.value, object_ids=[key.object_id for key in keys], now=self._connection.now()
        )
        return keys

    async def mark_deleted(self, keys: Collection[ObjectKey]) -> Collection[ObjectKey]:
        """Marks objects that no record refers to."""
        if not keys:
            return []
        return to_keys(await self._connection.rpc("mark_deleted", objects=from_keys(keys), now=self._connection.now()))

    async def take_deleted(self, *, grace: int, most: int) -> Sequence[ObjectKey]:
        """Returns objects whose bytes are to be removed."""
        return to_keys(
            await self._connection.rpc("take_deleted", grace_us=grace, most=most, now=self._connection.now())
        )

    async def remove_notes(self, keys: Collection[ObjectKey]) -> None:
        """Removes the notes of objects whose bytes are gone."""
        if keys:
            await self._connection.rpc("remove_notes", object_ids=[key.object_id for key in keys])
