"""The ObjectNotes in Supabase, and objects as the schema names them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from servicekit.ids import new_id
from storage_service.records import ObjectKey, ObjectKind
from storage_service.supabase.connection import SupabaseStore


def to_keys(rows: Sequence[Mapping[str, Any]]) -> list[ObjectKey]:
    """Returns the keys of objects that a function of the schema names."""
    return [ObjectKey(ObjectKind(row["kind"]), row["object_id"]) for row in rows]


class SupabaseObjectNotes(SupabaseStore):
    """Notes objects in the schema `tales`; see ObjectNotes for the methods."""

    async def note(self, kind: ObjectKind, count: int) -> Sequence[ObjectKey]:
        """Notes new objects."""
        keys = [ObjectKey(kind, new_id()) for _ in range(count)]
        await self._connection.timed_rpc("note_objects", kind=kind.value, object_ids=[key.object_id for key in keys])
        return keys

    async def mark_deleted(self, keys: Collection[ObjectKey]) -> Collection[ObjectKey]:
        """Marks objects that no record refers to."""
        if not keys:
            return []
        given = [{"kind": key.kind.value, "object_id": key.object_id} for key in keys]
        return to_keys(await self._connection.timed_rpc("mark_deleted", objects=given))

    async def take_deleted(self, *, grace: int, most: int) -> Sequence[ObjectKey]:
        """Returns objects whose bytes are to be removed."""
        return to_keys(await self._connection.timed_rpc("take_deleted", grace_us=grace, most=most))

    async def remove_notes(self, keys: Collection[ObjectKey]) -> None:
        """Removes the notes of objects whose bytes are gone."""
        if keys:
            await self._connection.rpc("remove_notes", object_ids=[key.object_id for key in keys])
