"""Bytes on their way to a store behind a network: in memory while they are few, then in a temporary file."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import tempfile
from typing import Any, Final

from servicekit.errors import unavailable
from storage_service.records import Digest

_IN_MEMORY: Final = 1 << 20


class Spool:
    """Takes bytes in one after the other and gives all of them out, as often as wanted; gone with `close`."""

    def __init__(self) -> None:
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

    def digest(self) -> Digest:
        """Size and hash so far."""
        return Digest(self._size, self._sha256.digest())

    def source(self) -> bytes | io.BufferedReader[Any]:
        """All of it, from the start. A reader is the caller's to close."""
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
