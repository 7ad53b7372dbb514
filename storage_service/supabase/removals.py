"""The RemovalStore in Supabase."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from servicekit.ids import is_id
from storage_service.records import AudioKey, Erased, Removed
from storage_service.supabase import refusals
from storage_service.supabase.connection import Connection
from storage_service.supabase.wire import from_base64, to_time_text
from tale.storage.v1 import storage_pb2

MAX_HASHES: Final = 10_000
"""Hashes told in one list."""

_HASH: Final = 32
_REPEATED: Final = timedelta(days=1)
"""How long after a child is gone a repeated erasure succeeds."""


class SupabaseRemovalStore:
    """Removes from the schema `tales`; see RemovalStore for the methods."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def erase_child(self, owner: str, child_id: str, *, most: int) -> Erased:
        """Removes a child and some of its stories.

        Not repeated where it may have been done: it would tell what the second time removed. Whoever repeats it within
        a day is told that the child is gone, and not that there was none.
        """
        answer = await self._connection.rpc(
            "erase_child", safe=False, owner=owner, child_id=child_id, most=most, now=self._connection.now()
        )
        if answer.get("refused") == "CHILD_NOT_FOUND" and await self._was_deleted(owner, child_id):
            return Erased(0, [], more=False)
        refusals.check(answer, child_id)
        return Erased(answer["story_count"], _keys(answer["dropped"]), more=answer["more"])

    async def _was_deleted(self, owner: str, child_id: str) -> bool:
        return bool(
            await self._connection.rpc(
                "was_deleted",
                owner=owner,
                resource_id=child_id,
                within_us=_REPEATED // timedelta(microseconds=1),
                now=self._connection.now(),
            )
        )

    async def expire(self, before: int, *, most: int) -> Sequence[Removed]:
        """Removes old stories."""
        removed = await self._connection.rpc(
            "expire_stories", before=to_time_text(before), most=most, now=self._connection.now()
        )
        return [to_removed(one) for one in removed]

    async def files_to_remove(self, *, most: int) -> Sequence[AudioKey]:
        """Files of removed stories."""
        return _keys(await self._connection.rpc("files_to_remove", most=most))

    async def files_removed(self, story_ids: Collection[str]) -> None:
        """Notes that files are gone."""
        await self._connection.rpc("files_removed", story_ids=sorted(story_ids))

    async def list_forgettable(self, owner: str, child_id: str, *, most: int) -> Sequence[storage_pb2.ForgettableStory]:
        """Removed stories that caches are to forget."""
        if child_id and not is_id(child_id):
            return []
        listed = await self._connection.rpc(
            "list_forgettable",
            owner=owner,
            child_id=child_id or None,
            most=most,
            most_hashes=MAX_HASHES,
            now=self._connection.now(),
        )
        return [
            storage_pb2.ForgettableStory(
                story_id=row["id"], segment_sha256=_hashes(row), audio_count=row["audio_count"]
            )
            for row in listed
        ]

    async def confirm_forgotten(self, story_ids: Collection[str]) -> None:
        """Notes that caches have forgotten stories."""
        await self._connection.rpc("confirm_forgotten", story_ids=sorted(story_ids), now=self._connection.now())

    async def scrub(self) -> None:
        """Leaves it to the database, whose autovacuum clears deleted rows; logs and backups are the project's."""


def to_removed(row: Mapping[str, Any]) -> Removed:
    """A story that was removed."""
    return Removed(row["id"], _hashes(row), _keys([row]))


def _keys(listed: Sequence[Mapping[str, Any]]) -> list[AudioKey]:
    return [AudioKey(row["id"], object_id) for row in listed for object_id in row["object_ids"]]


def _hashes(row: Mapping[str, Any]) -> list[bytes]:
    joined = from_base64(row["segment_sha256"])
    return [joined[start : start + _HASH] for start in range(0, len(joined), _HASH)]
