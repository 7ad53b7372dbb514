"""Removes stories and children: first what is known of them, then their bytes."""

from typing import Final

from storage_service.audio.noted import NotedObjects
from storage_service.ports import RemovalStore, StoryStore
from storage_service.records import Removed

STORIES_AT_ONCE: Final = 100
"""Old stories removed in one transaction."""


class Remover:
    """Removes from stores that are open. Bytes that cannot be removed now stay marked as deleted and go later."""

    def __init__(self, stories: StoryStore, removals: RemovalStore, objects: NotedObjects) -> None:
        self._stories = stories
        self._removals = removals
        self._objects = objects

    async def delete_story(self, owner: str, story_id: str) -> None:
        """Removes a story, then its bytes; STORY_NOT_FOUND."""
        await self._objects.drop(await self._stories.delete(owner, story_id))

    async def erase_child(self, owner: str, child_id: str) -> Removed:
        """Removes a child, all its stories and their bytes; at the end leaves no trace in the store's files.

        Raises CHILD_NOT_FOUND, and UNAVAILABLE where bytes or traces could not be removed: the next call does it.
        """
        erased = await self._removals.erase_child(owner, child_id)
        await self._objects.remove(erased.dropped)
        await self._removals.scrub()
        return erased

    async def expire(self, before: int) -> int:
        """Removes all finished stories that were accepted before a time (microseconds); how many."""
        count = 0
        while (removed := await self._removals.expire(before, most=STORIES_AT_ONCE)).story_count:
            await self._objects.drop(removed.dropped)
            count += removed.story_count
        return count

    async def remove_deleted(self) -> int:
        """Removes bytes that nothing refers to, such as those of uploads that never ended; how many objects."""
        return await self._objects.remove_deleted()

    async def scrub(self) -> None:
        """Leaves nothing of what was removed in the store's files."""
        await self._removals.scrub()
