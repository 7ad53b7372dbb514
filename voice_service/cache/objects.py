"""The cache on an object store: files, S3 or memory, one object a segment.

    segments/<key>                 the segment (voice_service.cache.entry)
    by-story/<story id>/<key>      empty: the story used the segment
    by-audio/<sha256>/<key>        empty: the segment's audio has this checksum

The empty marks are written before the segment, so that whatever is cached can be found to be forgotten, also by another
process and after a restart. Objects appear whole or not at all; what a crash of the machine leaves half is told by its
checksum. Recency of use is known to the running process alone; at its start the time of writing stands in.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog
from obstore.exceptions import BaseError

from voice_service.cache.entry import decode, encode
from voice_service.cache.forgotten import ForgottenStories
from voice_service.cache.index import MAX_AUDIOS, MAX_STORIES, IndexEntry, LruIndex
from voice_service.cache.paths import audio_mark, segment_path, story_mark
from voice_service.cache.ports import CacheError, CacheStats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Sequence

    from obstore.store import LocalStore, MemoryStore, S3Store

    from voice_service.cache.ports import CachedSegment

_log: Final = structlog.stdlib.get_logger(__name__)

_FAILURES: Final = (BaseError, OSError)
_TIMEOUT: Final = 20.0
_WRITES: Final = 16
"""Segments that are written at a time: each is held a second time while it is."""
_ORPHAN_AGE: Final = timedelta(minutes=10)


class ObjectCache:
    """A SegmentCache of at most `max_bytes` on `store`; the longest unused segments go first.

    `forgotten` remembers the stories that this process was told to forget. Marks of no segment are swept at the start
    once they are `orphan_age` old.
    """

    def __init__(
        self,
        store: LocalStore | MemoryStore | S3Store,
        max_bytes: int,
        forgotten: ForgottenStories | None = None,
        *,
        orphan_age: timedelta = _ORPHAN_AGE,
    ) -> None:
        self._orphan_age = orphan_age
        self._store = store
        self._max_bytes = max_bytes
        self._forgotten = ForgottenStories() if forgotten is None else forgotten
        self._index = LruIndex()
        self._evicting = asyncio.Lock()
        self._writing = asyncio.Semaphore(_WRITES)
        self._survey: asyncio.Task[None] | None = None
        self._hits = self._hit_bytes = self._misses = self._corrupt = self._evicted = 0

    async def start(self) -> None:
        """Begin to list what the store holds."""
        self._survey = asyncio.create_task(self._look(), name="voice cache survey")

    async def surveyed(self) -> None:
        """Return when what the store held at the start is known."""
        if self._survey is not None:
            await asyncio.shield(self._survey)

    async def aclose(self) -> None:
        """Stop listing."""
        if self._survey is not None and not self._survey.done():
            self._survey.cancel()
            await asyncio.wait([self._survey])

    async def get(self, key: str, story_id: str = "") -> CachedSegment | None:
        """See SegmentCache."""
        data = await self._read(segment_path(key))
        segment = None if data is None else decode(data)
        if segment is None or data is None:
            self._misses += 1
            if data is not None:
                self._corrupt += 1
                _log.warning("cached segment is damaged and will be made again", key=key[:12])
                await self._try(self._remove(key))
            return None
        self._hits += 1
        self._hit_bytes += len(segment.audio)
        entry = self._index.used(key, len(data))
        entry.audios.add(segment.sha256.hex())
        # Without its mark the segment is still forgotten by its checksum.
        await self._try(self._mark(key, entry, story_id))
        return segment

    async def put(self, key: str, segment: CachedSegment, story_ids: Collection[str] = ()) -> None:
        """See SegmentCache."""
        if self._all_forgotten(story_ids):
            return
        async with self._writing:
            await self._put(key, segment, story_ids)

    async def _put(self, key: str, segment: CachedSegment, story_ids: Collection[str]) -> None:
        data = encode(segment)
        marks = IndexEntry()
        marks.audios.add(segment.sha256.hex())
        await self._write(audio_mark(segment.sha256.hex(), key), b"")
        for story_id in story_ids:
            await self._mark(key, marks, story_id)
        await self._write(segment_path(key), data)
        entry = self._index.used(key, len(data))
        entry.audios |= marks.audios
        entry.stories |= marks.stories
        # A story that was forgotten meanwhile may have been looked for before its mark was there.
        if self._all_forgotten(story_ids):
            await self._remove(key)
            return
        late = [story_id for story_id in marks.stories if story_id in self._forgotten]
        entry.stories.difference_update(late)
        await self._delete(story_mark(story_id, key) for story_id in late)
        await self._evict()

    async def forget(self, story_ids: Sequence[str], segment_sha256: Sequence[bytes]) -> int:
        """See SegmentCache."""
        self._forgotten.add(story_ids)
        folders = [f"by-story/{story_id}" for story_id in story_ids]
        folders += [f"by-audio/{sha256.hex()}" for sha256 in segment_sha256]
        keys: dict[str, None] = {}
        marks: list[str] = []
        for folder in folders:
            async for found in self._list(folder):
                marks.append(found["path"])
                keys[found["path"].rpartition("/")[2]] = None
        forgotten = sum([await self._remove(key) for key in keys])
        await self._delete(marks)
        return forgotten

    async def note_audio(self, key: str, sha256: bytes) -> None:
        """See SegmentCache."""
        entry = self._index.known(key)
        checksum = sha256.hex()
        if entry is None or checksum in entry.audios or len(entry.audios) >= MAX_AUDIOS:
            return
        await self._write(audio_mark(checksum, key), b"")
        entry.audios.add(checksum)

    def stats(self) -> CacheStats:
        """See SegmentCache."""
        return CacheStats(
            hits=self._hits,
            hit_bytes=self._hit_bytes,
            misses=self._misses,
            corrupt=self._corrupt,
            evicted=self._evicted,
            entries=len(self._index),
            bytes=self._index.bytes,
        )

    async def _try(self, step: Awaitable[object]) -> None:
        """Do what a read does besides; the read stands where it fails."""
        try:
            await step
        except CacheError as error:
            _log.warning("voice cache failed", why=str(error))

    async def _mark(self, key: str, entry: IndexEntry, story_id: str) -> None:
        if not story_id or story_id in entry.stories or story_id in self._forgotten:
            return
        if len(entry.stories) < MAX_STORIES:
            await self._write(story_mark(story_id, key), b"")
            entry.stories.add(story_id)

    def _all_forgotten(self, story_ids: Collection[str]) -> bool:
        return bool(story_ids) and all(story_id in self._forgotten for story_id in story_ids)

    async def _evict(self) -> None:
        async with self._evicting:
            while self._index.bytes > self._max_bytes and (key := self._index.oldest()) is not None:
                self._evicted += 1
                await self._remove(key)

    async def _remove(self, key: str) -> bool:
        """Remove the segment of `key` with its marks; tells whether there was one."""
        entry = self._index.drop(key)
        removed = await self._delete([segment_path(key)])
        marks = [story_mark(story_id, key) for story_id in entry.stories]
        marks += [audio_mark(checksum, key) for checksum in entry.audios]
        await self._delete(marks)
        return removed > 0

    async def _look(self) -> None:
        """Learn what the store holds, and sweep marks of segments that are gone."""
        try:
            found: dict[str, IndexEntry] = {}
            listed = [item async for item in self._list("segments")]
            listed.sort(key=lambda item: item["last_modified"], reverse=True)
            for item in listed:
                found[item["path"].rpartition("/")[2]] = IndexEntry(size=item["size"])
            orphans = [mark async for mark in self._orphans(found)]
            for key, entry in found.items():
                self._index.found(key, entry)
            await self._delete(orphans)
            await self._evict()
        except CacheError:
            _log.warning("the voice cache can not be listed; its size is not bounded until the next start")

    async def _orphans(self, found: dict[str, IndexEntry]) -> AsyncIterator[str]:
        for folder in ("by-story", "by-audio"):
            async for item in self._list(folder):
                _, name, key = item["path"].rsplit("/", 2)
                entry = found.get(key)
                if entry is None:
                    # Marks come before their segment, here and in other replicas: a young one may wait for it.
                    old = datetime.now(UTC) - item["last_modified"] >= self._orphan_age
                    if old and key not in self._index and not await self._exists(key):
                        yield item["path"]
                elif folder == "by-audio":
                    entry.audios.add(name)
                else:
                    entry.stories.add(name)

    async def _exists(self, key: str) -> bool:
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._store.head_async(segment_path(key))
        except FileNotFoundError:
            return False
        except _FAILURES as error:
            raise CacheError("the voice cache does not answer") from error
        return True

    async def _read(self, path: str) -> bytes | None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                return bytes(await (await self._store.get_async(path)).bytes_async())
        except FileNotFoundError:
            return None
        except _FAILURES as error:
            raise CacheError("the voice cache can not be read") from error

    async def _write(self, path: str, data: bytes) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._store.put_async(path, data, use_multipart=False)
        except _FAILURES as error:
            raise CacheError("the voice cache can not be written") from error

    async def _delete(self, paths: Iterable[str]) -> int:
        """Delete objects; returns how many there were."""
        deleted = 0
        for path in paths:
            try:
                async with asyncio.timeout(_TIMEOUT):
                    await self._store.head_async(path)
                    await self._store.delete_async(path)
                deleted += 1
            except FileNotFoundError:
                continue
            except _FAILURES as error:
                raise CacheError("the voice cache can not be cleared") from error
        return deleted

    async def _list(self, folder: str) -> AsyncIterator[Any]:
        try:
            async for batch in self._store.list(folder, chunk_size=500):
                for item in batch:
                    yield item
        except _FAILURES as error:
            raise CacheError("the voice cache can not be listed") from error
