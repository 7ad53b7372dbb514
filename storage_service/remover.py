"""Removes stories and children: first what is known of them, then their bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from servicekit.errors import DomainError
from storage_service.ports import AudioStore, RemovalStore, StoryStore
from storage_service.records import AudioKey, Removed

_log: Final = structlog.stdlib.get_logger("storage_service.remover")

STORIES_AT_ONCE: Final = 100
"""Stories removed in one transaction."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What a call removed of a child, and whether nothing is left."""

    story_count: int
    audio_count: int
    done: bool


class Remover:
    """Removes from stores that are open. What was begun and not ended is remembered by the store and done later."""

    def __init__(self, stories: StoryStore, removals: RemovalStore, files: AudioStore) -> None:
        self._stories = stories
        self._removals = removals
        self._files = files

    async def delete_story(self, owner: str, story_id: str) -> Removed:
        """Removes a story, then its bytes; STORY_NOT_FOUND."""
        removed = await self._stories.delete(owner, story_id)
        await self._try_to_drop(removed.dropped)
        return removed

    async def erase_child(self, owner: str, child_id: str) -> Erasure:
        """Removes a child, some of its stories and their bytes; at the end leaves no trace in the store's files.

        Raises CHILD_NOT_FOUND, and UNAVAILABLE where a part could not be done: the next call does it.
        """
        erased = await self._removals.erase_child(owner, child_id, most=STORIES_AT_ONCE)
        await self._drop(erased.dropped)
        if not erased.more:
            await self._removals.scrub()
        return Erasure(erased.story_count, len(erased.dropped), done=not erased.more)

    async def expire(self, before: int) -> int:
        """Removes all finished stories that were accepted before a time (microseconds); how many."""
        count = 0
        while removed := await self._removals.expire(before, most=STORIES_AT_ONCE):
            await self._try_to_drop([key for story in removed for key in story.dropped])
            count += len(removed)
        return count

    async def catch_up(self) -> None:
        """Removes bytes that were left when their stories were removed."""
        while keys := await self._removals.files_to_remove(most=STORIES_AT_ONCE):
            await self._drop(keys)

    async def scrub(self) -> None:
        """Leaves nothing of what was removed in the store's files."""
        await self._removals.scrub()

    async def _drop(self, keys: Sequence[AudioKey]) -> None:
        if keys:
            await self._files.remove(keys)
            await self._removals.files_removed({key.story_id for key in keys})

    async def _try_to_drop(self, keys: Sequence[AudioKey]) -> None:
        try:
            await self._drop(keys)
        except DomainError:
            _log.warning("audio of removed stories stays for now", files=len(keys))
