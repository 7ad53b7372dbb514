"""The AudioStore in a bucket: `<prefix>/stories/<story id>/<object id>`."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog

from servicekit.errors import DomainError, unavailable
from servicekit.ids import is_id
from servicekit.resilience.errors import ProviderError
from storage_service.audio_ownership import MARK
from storage_service.errors import audio_corrupt
from storage_service.object_store.checking import check_bucket
from storage_service.ports import ANY_BYTES, Clock, KnownAudio, Upload
from storage_service.records import AudioKey, Digest, KeptAudio, SignedUrl
from storage_service.spool import Spool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from storage_service.object_store.bucket import Bucket

_log: Final = structlog.stdlib.get_logger("storage_service.object_store")

_FOLDER: Final = "stories"
_BLOCK: Final = 4 << 20
_BATCH: Final = 500
_LONGEST_MARK: Final = 4_096
_SECOND: Final = 1_000_000


class AudioObjects:
    """Keeps audio in a bucket; see AudioStore for the methods.

    Bytes on their way wait in a temporary file and are sent once they are known to be whole, so that an upload that is
    given up leaves nothing in the bucket. `clock` says when an address ends and how old an object is.
    """

    def __init__(self, bucket: Bucket, clock: Clock) -> None:
        self._bucket = bucket
        self._clock = clock

    async def open(self) -> None:
        """Sees to it that the bucket is there; ConfigurationError with the mend.

        Where the store does not answer, the service begins without it: it may be there later.
        """
        try:
            await check_bucket(self._bucket)
        except ProviderError as error:
            _log.warning("the store of audio does not answer yet", kind=error.kind.value, status=error.status)

    async def close(self) -> None:
        """Waits for what is under way."""
        await self._bucket.settle()

    @asynccontextmanager
    async def upload(self, key: AudioKey, *, content_type: str = ANY_BYTES) -> AsyncGenerator[Upload, None]:
        """Takes bytes in, to send them when they are published."""
        upload = _Upload(self._bucket, path_of(key), content_type)
        try:
            yield upload
        finally:
            await upload.spool.close()

    async def read(self, kept: KeptAudio, *, offset: int, limit: int | None) -> AsyncGenerator[bytes, None]:
        """The bytes of an object, in blocks of 4 MiB, each asked for by itself."""
        path, size = path_of(kept.key), kept.audio.size_bytes
        end = size if limit is None else min(size, offset + limit)
        position, sha256 = offset, hashlib.sha256()
        while position < end:
            try:
                block, whole = await self._bucket.get(path, position, min(end, position + _BLOCK))
            except DomainError as error:
                if error.reason == "NOT_FOUND":
                    raise audio_corrupt(kept.key.story_id) from error
                raise
            position += len(block)
            sha256.update(block)
            damaged = position == size and offset == 0 and sha256.digest() != kept.audio.sha256
            if not block or whole != size or damaged:
                raise audio_corrupt(kept.key.story_id)
            yield block

    async def remove(self, keys: Collection[AudioKey]) -> None:
        """Removes objects."""
        paths = [path_of(key) for key in keys]
        for start in range(0, len(paths), _BATCH):
            await self._bucket.delete(paths[start : start + _BATCH])

    async def sweep(self, known: KnownAudio, *, grace: int) -> int:
        """Removes objects that nobody knows. What does not look like ours is left alone."""
        newest = self._clock.now() - grace
        removed = 0
        async for page in self._bucket.pages(_FOLDER):
            old = [
                key
                for item in page
                if int(item["last_modified"].timestamp() * _SECOND) < newest and (key := _key_of(item["path"]))
            ]
            kept = await known(old) if old else ()
            stray = [key for key in old if key not in kept]
            await self.remove(stray)
            removed += len(stray)
        return removed

    async def mark(self) -> bytes | None:
        """What says whose the bucket is, from the prefix on."""
        try:
            data, _ = await self._bucket.get(MARK, 0, _LONGEST_MARK)
        except DomainError as error:
            if error.reason == "NOT_FOUND":
                return None
            raise
        return data

    async def set_mark(self, data: bytes) -> None:
        """Says whose the bucket is."""
        await self._bucket.put(MARK, lambda: data, len(data), content_type="application/json")

    async def some_keys(self) -> Collection[AudioKey]:
        """Keys of some objects: those of the first page that has any."""
        async for page in self._bucket.pages(_FOLDER):
            if keys := [key for item in page if (key := _key_of(item["path"]))]:
                return keys
        return ()

    async def url(self, kept: KeptAudio, *, expiry: int) -> SignedUrl:
        """A signed address. Whole seconds: S3 knows no less."""
        seconds = max(1, expiry // _SECOND)
        ends = self._clock.now() + seconds * _SECOND
        return SignedUrl(await self._bucket.sign(path_of(kept.key), seconds), ends)


class _Upload:
    """An object on its way in."""

    def __init__(self, bucket: Bucket, path: str, content_type: str) -> None:
        self.spool = Spool()
        self._bucket = bucket
        self._path = path
        self._content_type = content_type

    async def write(self, data: bytes) -> None:
        """Adds bytes."""
        try:
            await self.spool.write(data)
        except OSError as error:
            raise unavailable("STORAGE_UNAVAILABLE", "The store has no room for audio on its way.") from error

    async def digest(self) -> Digest:
        """Size and hash so far."""
        return self.spool.digest()

    async def publish(self) -> None:
        """Sends the object and asks whether all of it arrived. Repeating it puts the same bytes in the same place."""
        size = self.spool.digest().size
        content_type = self._content_type or ANY_BYTES
        if not await self._bucket.put(self._path, self.spool.source, size, content_type=content_type):
            await self._bucket.delete([self._path])
            raise unavailable("UPSTREAM_UNAVAILABLE", "The audio did not arrive whole at the store; send it again.")


def path_of(key: AudioKey) -> str:
    """Where an object is, under the prefix."""
    if not (is_id(key.story_id) and is_id(key.object_id)):
        raise ValueError("audio is named by two UUIDv7")
    return f"{_FOLDER}/{key.story_id}/{key.object_id}"


def _key_of(path: str) -> AudioKey | None:
    folder, story_id, object_id = path.split("/") if path.count("/") == 2 else ("", "", "")
    return AudioKey(story_id, object_id) if folder == _FOLDER and is_id(story_id) and is_id(object_id) else None
