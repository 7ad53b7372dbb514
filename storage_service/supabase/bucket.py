"""The ObjectStore in the private bucket of Supabase."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Final

from servicekit.errors import DomainError
from servicekit.resilience.errors import ProviderErrorKind
from storage_service.errors import audio_corrupt
from storage_service.ports import ANY_BYTES, Clock, Upload
from storage_service.records import Blob, ObjectKey, SignedUrl
from storage_service.supabase.connection import FILES, Connection
from storage_service.supabase.errors import SupabaseError
from storage_service.upstream import BufferedUpload, buffered_upload

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection
    from contextlib import AbstractAsyncContextManager

    from storage_service.supabase.client import Client


_BATCH: Final = 500
_SECOND: Final = 1_000_000


class ObjectBucket:
    """Stores objects in Storage; see ObjectStore for the methods. `clock` says when an address ends."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def open(self) -> None:
        """Does nothing: the story store opens the connection."""

    async def close(self) -> None:
        """Does nothing: the story store closes the connection."""

    async def settle(self) -> None:
        """Waits for calls, those whose callers are gone too."""
        await self._connection.settle()

    def upload(self, key: ObjectKey, *, content_type: str = ANY_BYTES) -> AbstractAsyncContextManager[Upload]:
        """Takes bytes in, to send them when they are published."""

        async def send(upload: BufferedUpload) -> None:
            await self._connection.run(
                FILES, "upload", lambda client: _send(client, key.path, upload, content_type or ANY_BYTES)
            )

        return buffered_upload(send)

    async def read(self, blob: Blob, *, offset: int = 0, limit: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yields the bytes of an object as they arrive."""
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
            await self._connection.run(FILES, "remove", lambda client, batch=batch: client.remove(batch))  # type: ignore[misc]

    async def url(self, blob: Blob, *, expiry: int) -> SignedUrl:
        """Returns a signed address. Storage counts whole seconds."""
        seconds = max(1, expiry // _SECOND)
        ends = self._clock.now() + seconds * _SECOND
        path = blob.key.path
        return SignedUrl(await self._connection.run(FILES, "sign", lambda client: client.sign(path, seconds)), ends)


async def _send(client: Client, path: str, upload: BufferedUpload, content_type: str) -> None:
    """Sends a file and asks whether it arrived whole."""
    digest, source = upload.digest(), upload.source()
    try:
        await client.upload(path, source, content_type=content_type, sha256=digest.sha256.hex())
    finally:
        if isinstance(source, io.BufferedReader):
            source.close()
    size = await client.size(path)
    if size is not None and size != digest.size:
        raise SupabaseError(ProviderErrorKind.TRUNCATED, "a file did not arrive whole", undone=False)
