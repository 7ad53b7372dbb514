"""Writes files that are complete or absent."""

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tale_client.transport import Offload


class PartialFile:
    """A file that is written beside its final path and renamed when it is complete.

    The disk is used through `offload`. OSError is not caught.
    """

    def __init__(self, folder: Path, suffix: str, offload: Offload) -> None:
        self._offload = offload
        self._folder = folder
        self._suffix = suffix
        self._file: IO[bytes] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            await self._offload(self._discard, self._file, shielded=True)
            self._file = None

    async def write(self, data: bytes) -> None:
        """Appends `data`."""
        await self._offload((await self._opened()).write, data)

    async def clear(self) -> None:
        """Drops what was written and starts at byte 0."""
        if self._file is not None:
            await self._offload(self._file.seek, 0)
            await self._offload(self._file.truncate)

    async def commit(self, place: Path) -> None:
        """Writes the file durably to `place` and replaces what was there."""
        await self._offload(self._commit, await self._opened(), place)
        self._file = None

    async def _opened(self) -> IO[bytes]:
        # Only now, so that no folder is created when nothing is written.
        if self._file is None:
            self._file = await self._offload(self._open)
        return self._file

    def _open(self) -> IO[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed by _commit or _discard
            dir=self._folder, prefix=".", suffix=f"{self._suffix}.part", delete=False
        )
        # tempfile makes it private; the story gets the usual permissions of the user's files.
        mask = os.umask(0o077)
        os.umask(mask)
        Path(file.name).chmod(0o666 & ~mask)
        return file

    @staticmethod
    def _commit(file: IO[bytes], place: Path) -> None:
        with file:
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(place)

    @staticmethod
    def _discard(file: IO[bytes]) -> None:
        with file:
            Path(file.name).unlink(missing_ok=True)
