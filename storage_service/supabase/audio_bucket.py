"""The AudioStore in the private bucket: `stories/<story id>/<object id>`."""

from __future__ import annotations

import hashlib
import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from servicekit.errors import DomainError, unavailable
from servicekit.ids import is_id
from servicekit.resilience.errors import ProviderErrorKind
from storage_service.errors import audio_corrupt
from storage_service.ports import ANY_BYTES, Clock, KnownAudio, Upload
from storage_service.records import AudioKey, Digest, KeptAudio, SignedUrl
from storage_service.spool import Spool
from storage_service.supabase.connection import FILES, Connection
from storage_service.supabase.failures import SupabaseError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from storage_service.supabase.client import Client

_BATCH: Final = 500
_SECOND: Final = 1_000_000


class AudioBucket:
    """Keeps audio in Storage; see AudioStore for the methods.

    Each file is noted in the database before its first byte is sent, so that the sweep finds it without listing the
    bucket. `clock` says when an address ends.
    """

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def open(self) -> None:
        """The connection is the stories' to open."""

    async def close(self) -> None:
        """And theirs to close."""

    @asynccontextmanager
    async def upload(self, key: AudioKey, *, content_type: str = ANY_BYTES) -> AsyncGenerator[Upload, None]:
        """Takes bytes in, to send them when they are published."""
        spool = Spool()
        try:
            yield _Upload(self._connection, spool, key, content_type)
        finally:
            await spool.close()

    async def read(self, kept: KeptAudio, *, offset: int, limit: int | None) -> AsyncGenerator[bytes, None]:
        """The bytes of a file as they arrive."""
        size = kept.audio.size_bytes
        end = size if limit is None else min(size, offset + limit)
        if offset >= end:
            return
        position, sha256 = offset, hashlib.sha256()
        try:
            # One byte more than there should be: a longer file is another one.
            async with self._connection.stream(path_of(kept.key), offset=offset, end=end + (end == size)) as blocks:
                async for block in blocks:
                    position += len(block)
                    sha256.update(block)
                    if position > end or (position == size and offset == 0 and sha256.digest() != kept.audio.sha256):
                        raise audio_corrupt(kept.key.story_id)
                    yield block
        except DomainError as error:
            if error.reason == "NOT_FOUND":
                raise audio_corrupt(kept.key.story_id) from error
            raise
        if position < end:
            raise audio_corrupt(kept.key.story_id)

    async def remove(self, keys: Collection[AudioKey]) -> None:
        """Removes files."""
        paths = [path_of(key) for key in keys]
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            await self._connection.run(FILES, lambda client, batch=batch: client.remove(batch))  # type: ignore[misc]
        if paths:
            await self._connection.rpc("forget_audio_objects", object_ids=[key.object_id for key in keys])

    async def sweep(self, known: KnownAudio, *, grace: int) -> int:
        """Removes files that nobody knows, and notes of uploads that never ended."""
        after: dict[str, Any] | None = None
        removed = 0
        while True:
            page = await self._connection.rpc(
                "list_audio_objects", grace_us=grace, after=after, most=_BATCH, now=self._connection.now()
            )
            keys = [AudioKey(row["story_id"], row["object_id"]) for row in page]
            kept = await known(keys) if keys else ()
            stray = [key for key in keys if key not in kept]
            await self.remove(stray)
            removed += len(stray)
            if len(page) < _BATCH:
                return removed
            after = page[-1]

    async def url(self, kept: KeptAudio, *, expiry: int) -> SignedUrl:
        """A signed address. Whole seconds: Storage knows no less."""
        seconds = max(1, expiry // _SECOND)
        ends = self._clock.now() + seconds * _SECOND
        path = path_of(kept.key)
        return SignedUrl(await self._connection.run(FILES, lambda client: client.sign(path, seconds)), ends)


class _Upload:
    """A file on its way in."""

    def __init__(self, connection: Connection, spool: Spool, key: AudioKey, content_type: str) -> None:
        self._connection = connection
        self._spool = spool
        self._key = key
        self._path = path_of(key)
        self._content_type = content_type

    async def write(self, data: bytes) -> None:
        """Adds bytes."""
        try:
            await self._spool.write(data)
        except OSError as error:
            raise unavailable("STORAGE_UNAVAILABLE", "The store has no room for audio on its way.") from error

    async def digest(self) -> Digest:
        """Size and hash so far."""
        return self._spool.digest()

    async def publish(self) -> None:
        """Sends the file and asks whether it arrived whole. Repeating it puts the same bytes under the same name."""
        await self._connection.rpc(
            "note_audio_object",
            story_id=self._key.story_id,
            object_id=self._key.object_id,
            now=self._connection.now(),
        )
        await self._connection.run(FILES, self._send)

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


def path_of(key: AudioKey) -> str:
    """Where a file is in the bucket."""
    if not (is_id(key.story_id) and is_id(key.object_id)):
        raise ValueError("audio is named by two UUIDv7")
    return f"stories/{key.story_id}/{key.object_id}"
