"""Bytes on their way to a store behind a network: in memory while they are few, then in a temporary file."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import tempfile
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from servicekit.errors import unavailable
from storage_service.errors import check_digest
from storage_service.records import Digest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from storage_service.ports import Upload

_IN_MEMORY: Final = 1 << 20


class Spool:
    """An upload whose bytes wait until they are known to be whole, and are then sent by `send`; gone with `close`."""

    def __init__(self, send: Callable[[Spool], Awaitable[None]]) -> None:
        self._send = send
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, prefix="tale-audio-")  # noqa: SIM115 - see close
        self._sha256 = hashlib.sha256()
        self._size = 0

    async def write(self, data: bytes) -> None:
        """Adds bytes; UNAVAILABLE / STORAGE_UNAVAILABLE where the disk does not take them."""
        if self._size + len(data) <= _IN_MEMORY:
            self._write(data)
            return
        try:
            await asyncio.to_thread(self._write, data)
        except OSError as error:
            raise unavailable("STORAGE_UNAVAILABLE", "The store has no room for audio on its way.") from error

    async def publish(self, expected: Digest | None = None) -> Digest:
        """Sends the bytes. Repeating it puts the same bytes in the same place."""
        digest = self.digest()
        check_digest(digest, expected)
        await self._send(self)
        return digest

    def digest(self) -> Digest:
        """Returns size and hash so far."""
        return Digest(self._size, self._sha256.digest())

    def source(self) -> bytes | io.BufferedReader[Any]:
        """Returns all of it, from the start, as often as needed. A reader is closed by the caller."""
        if self._size <= _IN_MEMORY:
            self._file.seek(0)
            return self._file.read()
        self._file.flush()
        reader = io.BufferedReader(io.FileIO(os.dup(self._file.fileno()), "rb"))
        reader.seek(0)
        return reader

    async def close(self) -> None:
        """Lets go of the bytes."""
        await asyncio.to_thread(self._file.close)

    def _write(self, data: bytes) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(data)
        self._sha256.update(data)
        self._size += len(data)


@asynccontextmanager
async def spooled(send: Callable[[Spool], Awaitable[None]]) -> AsyncGenerator[Upload, None]:
    """Takes bytes in, to send them when they are published: an upload that is given up leaves nothing behind."""
    spool = Spool(send)
    try:
        yield spool
    finally:
        await spool.close()
