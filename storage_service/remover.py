"""Removes stories and children: first what is known of them, then their bytes."""

from storage_service.audio.noted import NotedObjects
from storage_service.ports import RemovalStore, StoryStore
from storage_service.records import Removed


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
