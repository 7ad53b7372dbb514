"""The ObjectStore in the private bucket."""

from __future__ import annotations

import hashlib
import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from servicekit.errors import DomainError, unavailable
from servicekit.resilience.errors import ProviderErrorKind
from storage_service.errors import audio_corrupt, check_digest
from storage_service.ports import ANY_BYTES, Clock, Upload
from storage_service.records import Blob, Digest, ObjectKey, SignedUrl
from storage_service.spool import Spool
from storage_service.supabase.connection import FILES, Connection
from storage_service.supabase.failures import SupabaseError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from storage_service.supabase.client import Client

_BATCH: Final = 500
_SECOND: Final = 1_000_000


class ObjectBucket:
    """Stores objects in Storage; see ObjectStore for the methods. `clock` says when an address ends."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def open(self) -> None:
        """The story store opens the connection."""

    async def close(self) -> None:
        """The story store closes it."""

    @asynccontextmanager
    async def upload(self, key: ObjectKey, *, content_type: str = ANY_BYTES) -> AsyncGenerator[Upload, None]:
        """Takes bytes in, to send them when they are published."""
        spool = Spool()
        try:
            yield _Upload(self._connection, spool, key.path, content_type)
        finally:
            await spool.close()

    async def read(self, blob: Blob, *, offset: int = 0, limit: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes of an object as they arrive."""
        end = blob.size if limit is None else min(blob.size, offset + limit)
        if offset >= end:
            return
        position, sha256 = offset, hashlib.sha256()
        try:
            # One byte more than there should be: a longer file is another one.
            async with self._connection.stream(blob.key.path, offset=offset, end=end + (end == blob.size)) as blocks:
                async for block in blocks:
                    position += len(block)
                    sha256.update(block)
                    if position > end or (position == blob.size and offset == 0 and sha256.digest() != blob.sha256):
                        raise audio_corrupt()
                    yield block
        except DomainError as error:
            if error.reason == "NOT_FOUND":
                raise audio_corrupt() from error
            raise
        if position < end:
            raise audio_corrupt()

    async def remove(self, keys: Collection[ObjectKey]) -> None:
        """Removes files."""
        paths = [key.path for key in keys]
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            await self._connection.run(FILES, lambda client, batch=batch: client.remove(batch))  # type: ignore[misc]

    async def url(self, blob: Blob, *, expiry: int) -> SignedUrl:
        """A signed address. Whole seconds: Storage knows no less."""
        seconds = max(1, expiry // _SECOND)
        ends = self._clock.now() + seconds * _SECOND
        path = blob.key.path
        return SignedUrl(await self._connection.run(FILES, lambda client: client.sign(path, seconds)), ends)


class _Upload:
    """A file on its way in."""

    def __init__(self, connection: Connection, spool: Spool, path: str, content_type: str) -> None:
        self._connection = connection
        self._spool = spool
        self._path = path
        self._content_type = content_type

    async def write(self, data: bytes) -> None:
        """Adds bytes."""
        try:
            await self._spool.write(data)
        except OSError as error:
            raise unavailable("STORAGE_UNAVAILABLE", "The store has no room for audio on its way.") from error

    async def publish(self, expected: Digest | None = None) -> Digest:
        """Sends the file and asks whether it arrived whole. Repeating it puts the same bytes under the same name."""
        digest = self._spool.digest()
        check_digest(digest, expected)
        await self._connection.run(FILES, self._send)
        return digest

    async def _send(self, client: Client) -> None:
        digest = self._spool.digest()
        source = self._spool.source()
        try:
            await client.upload(
                self._path, source, content_type=self._content_type or ANY_BYTES, sha256=digest.sha256.hex()
            )
        finally:
            if isinstance(source, io.BufferedReader):
                source.close()
        size = await client.size(self._path)
        if size is not None and size != digest.size:
            raise SupabaseError(
                ProviderErrorKind.TRUNCATED, "a file did not arrive whole", undone=False, retry_after=None
            )
