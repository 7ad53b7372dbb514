"""Finds and reads the audio of stories, finished or in progress."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import grpc
import structlog

from servicekit.errors import DomainError
from storage_service.audio.segments import SegmentLibrary
from storage_service.errors import audio_not_found
from storage_service.ports import ObjectStore, StoryStore
from storage_service.records import SignedUrl, StoredAudio, UnfinishedAudio

_log: Final = structlog.stdlib.get_logger("storage_service.audio")


class AudioLibrary:
    """The audio of stories, over a store of records, an object store and the segment store."""

    def __init__(self, stories: StoryStore, files: ObjectStore, segments: SegmentLibrary) -> None:
        self._stories = stories
        self._files = files
        self._segments = segments

    async def find(self, owner: str, story_id: str, audio_id: str) -> StoredAudio | UnfinishedAudio:
        """Returns the audio of a story, the one named `audio_id` unless that is empty; AUDIO_NOT_FOUND."""
        found = await self._stories.find_audio(owner, story_id, audio_id)
        if found is None:
            raise audio_not_found(story_id)
        return found

    async def read(
        self, owner: str, story_id: str, found: StoredAudio | UnfinishedAudio, *, offset: int, limit: int | None
    ) -> AsyncGenerator[bytes, None]:
        """Yields the bytes from `offset` on, in blocks of any size.

        Raises AUDIO_CORRUPT (of audio in progress SEGMENT_LOST) where bytes are missing or differ, AUDIO_NOT_FOUND
        where other audio has taken their place.
        """
        if isinstance(found, StoredAudio):
            reading = self._read_stored(owner, story_id, found, offset, limit)
        else:
            reading = self._read_parts(owner, story_id, found, offset, limit)
        async with aclosing(reading) as blocks:
            async for block in blocks:
                yield block

    async def url(self, owner: str, story_id: str, *, expiry: int) -> SignedUrl:
        """Returns an address of the finished audio, for `expiry` microseconds; AUDIO_NOT_FOUND."""
        found = await self.find(owner, story_id, "")
        if not isinstance(found, StoredAudio):
            raise audio_not_found(story_id)
        return await self._files.url(found.blob, expiry=expiry)

    async def _read_stored(
        self, owner: str, story_id: str, found: StoredAudio, offset: int, limit: int | None
    ) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._files.read(found.blob, offset=offset, limit=limit)) as blocks:
                async for block in blocks:
                    yield block
        except DomainError as error:
            if error.code is grpc.StatusCode.DATA_LOSS:
                now = await self._stories.find_audio(owner, story_id, found.audio.audio_id)
                if not isinstance(now, StoredAudio) or now.blob != found.blob:
                    raise audio_not_found(story_id) from error
                _log.error("stored audio missing or damaged", story_id=story_id)
            raise

    async def _read_parts(
        self, owner: str, story_id: str, found: UnfinishedAudio, offset: int, limit: int | None
    ) -> AsyncGenerator[bytes, None]:
        end = found.audio.size_bytes if limit is None else min(found.audio.size_bytes, offset + limit)
        try:
            begin = 0
            for part in found.parts:
                start, stop = max(offset - begin, 0), min(end - begin, part.size)
                begin += part.size
                if start < stop:
                    async with aclosing(self._segments.read(part, offset=start, limit=stop - start)) as blocks:
                        async for block in blocks:
                            yield block
                            offset += len(block)
        except DomainError as error:
            now = await self._lost(owner, story_id, found, error)
            # Its segments went after it was finished.
            async with aclosing(self._read_stored(owner, story_id, now, offset, end - offset)) as blocks:
                async for block in blocks:
                    yield block

    async def _lost(self, owner: str, story_id: str, found: UnfinishedAudio, error: DomainError) -> StoredAudio:
        """Returns the finished audio where it has replaced lost segments; raises `error` otherwise."""
        if error.reason != "SEGMENT_LOST":
            raise error
        now = await self.find(owner, story_id, found.audio.audio_id)
        if not isinstance(now, StoredAudio):
            raise error
        return now
