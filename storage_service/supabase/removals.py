"""The RemovalStore in Supabase."""

from collections.abc import Sequence

from storage_service.records import Erased, Removed
from storage_service.supabase import refusals
from storage_service.supabase.connection import Connection
from storage_service.supabase.objects import to_keys
from storage_service.supabase.wire import to_time_text


class SupabaseRemovalStore:
    """Removes from the schema `tales`; see RemovalStore for the methods."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def erase_child(self, owner: str, child_id: str) -> Erased:
        """Removes a child with all its stories.

        Not repeated where it may have been done: the second time it would count no stories.
        """
        answer = await self._connection.rpc(
            "erase_child", safe=False, owner=owner, child_id=child_id, now=self._connection.now()
        )
        refusals.check(answer, child_id)
        return Erased(answer["story_count"], to_keys(answer["dropped"]))

    async def expire(self, before: int, *, most: int) -> Sequence[Removed]:
        """Removes old stories."""
        answer = await self._connection.rpc(
            "expire_stories", before=to_time_text(before), most=most, now=self._connection.now()
        )
        dropped = answer["dropped"]
        return [
            Removed(story_id, to_keys([one for one in dropped if one["story_id"] == story_id]))
            for story_id in answer["story_ids"]
        ]

    async def scrub(self) -> None:
        """Leaves it to the database, whose autovacuum clears deleted rows; logs and backups are the project's."""
