"""The ObjectStore in a bucket of any server that speaks S3."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog

from servicekit.errors import DomainError, unavailable
from servicekit.resilience.errors import ProviderError
from storage_service.errors import audio_corrupt, check_digest
from storage_service.object_store.checking import check_bucket
from storage_service.ports import ANY_BYTES, Clock, Upload
from storage_service.records import Blob, Digest, ObjectKey, SignedUrl
from storage_service.spool import Spool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from storage_service.object_store.bucket import Bucket

_log: Final = structlog.stdlib.get_logger("storage_service.object_store")

_BLOCK: Final = 4 << 20
_BATCH: Final = 500
_SECOND: Final = 1_000_000


class BucketObjects:
    """Stores objects in a bucket; see ObjectStore for the methods.

    Bytes on their way wait in memory or a temporary file and are sent once they are known to be whole, so that an
    upload that is given up leaves nothing in the bucket. `clock` says when an address ends.
    """

    def __init__(self, bucket: Bucket, clock: Clock) -> None:
        self._bucket = bucket
        self._clock = clock

    async def open(self) -> None:
        """Checks that the bucket is there; ConfigurationError with the remedy.

        Where the store does not answer, the service begins without it: it may be there later.
        """
        try:
            await check_bucket(self._bucket)
        except ProviderError as error:
            _log.warning("the object store does not answer yet", kind=error.kind.value, status=error.status)

    async def close(self) -> None:
        """Waits for what is under way."""
        await self._bucket.settle()

    @asynccontextmanager
    async def upload(self, key: ObjectKey, *, content_type: str = ANY_BYTES) -> AsyncGenerator[Upload, None]:
        """Takes bytes in, to send them when they are published."""
        upload = _Upload(self._bucket, key.path, content_type)
        try:
            yield upload
        finally:
            await upload.spool.close()

    async def read(self, blob: Blob, *, offset: int = 0, limit: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes of an object, in blocks of 4 MiB, each asked for by itself."""
        path, size = blob.key.path, blob.size
        end = size if limit is None else min(size, offset + limit)
        position, sha256 = offset, hashlib.sha256()
        while position < end:
            try:
                block, whole = await self._bucket.get(path, position, min(end, position + _BLOCK))
            except DomainError as error:
                if error.reason == "NOT_FOUND":
                    raise audio_corrupt() from error
                raise
            position += len(block)
            sha256.update(block)
            damaged = position == size and offset == 0 and sha256.digest() != blob.sha256
            if not block or whole != size or damaged:
                raise audio_corrupt()
            yield block

    async def remove(self, keys: Collection[ObjectKey]) -> None:
        """Removes objects."""
        paths = [key.path for key in keys]
        for start in range(0, len(paths), _BATCH):
            await self._bucket.delete(paths[start : start + _BATCH])

    async def url(self, blob: Blob, *, expiry: int) -> SignedUrl:
        """A signed address. Whole seconds: S3 knows no less."""
        seconds = max(1, expiry // _SECOND)
        ends = self._clock.now() + seconds * _SECOND
        return SignedUrl(await self._bucket.sign(blob.key.path, seconds), ends)


class _Upload:
    """An object on its way in."""

    def __init__(self, bucket: Bucket, path: str, content_type: str) -> None:
        self.spool = Spool()
        self._bucket = bucket
        self._path = path
        self._content_type = content_type

    async def write(self, data: bytes) -> None:
        """Adds bytes."""
        await self.spool.write(data)

    async def publish(self, expected: Digest | None = None) -> Digest:
        """Sends the object and asks whether all of it arrived. Repeating it puts the same bytes in the same place."""
        digest = self.spool.digest()
        check_digest(digest, expected)
        content_type = self._content_type or ANY_BYTES
        if not await self._bucket.put(self._path, self.spool.source, digest.size, content_type=content_type):
            await self._bucket.delete([self._path])
            raise unavailable("UPSTREAM_UNAVAILABLE", "The audio did not arrive whole at the store; send it again.")
        return digest
