"""Notes of objects and the removal of many stories, in Supabase."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from servicekit.ids import new_id
from storage_service.records import ObjectKey, ObjectKind, Removed
from storage_service.supabase.connection import SupabaseStore
from storage_service.supabase.wire import to_time_text


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

    async def take_deleted(self, *, grace: int, most: int, after: str = "") -> Sequence[ObjectKey]:
        """Returns objects whose bytes are to be removed."""
        return to_keys(await self._connection.timed_rpc("take_deleted", grace_us=grace, most=most, after=after or None))

    async def remove_notes(self, keys: Collection[ObjectKey]) -> None:
        """Removes the notes of objects whose bytes are gone."""
        if keys:
            await self._connection.rpc("remove_notes", object_ids=[key.object_id for key in keys])


class SupabaseRemovalStore(SupabaseStore):
    """Removes from the schema `tales`; see RemovalStore for the methods."""

    async def erase_child(self, owner: str, child_id: str) -> Removed:
        """Removes a child with all its stories.

        Not repeated where it may have been done: the second time it would count no stories.
        """
        answer = await self._connection.timed_rpc("erase_child", child_id, safe=False, owner=owner, child_id=child_id)
        return Removed(answer["story_count"], to_keys(answer["dropped"]))

    async def expire(self, before: int, *, most: int) -> Removed:
        """Removes old stories."""
        answer = await self._connection.timed_rpc("expire_stories", before=to_time_text(before), most=most)
        return Removed(answer["story_count"], to_keys(answer["dropped"]))

    async def scrub(self) -> None:
        """Leaves it to the database, whose autovacuum clears deleted rows; logs and backups are the project's."""
