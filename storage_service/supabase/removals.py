"""The RemovalStore in Supabase."""

from storage_service.records import Removed
from storage_service.supabase.connection import SupabaseStore
from storage_service.supabase.objects import to_keys
from storage_service.supabase.wire import to_time_text


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
