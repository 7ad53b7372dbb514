"""Audio in progress: a temporary file of the run, from which watchers and the final write read.

The file has no name, so nothing is left behind by a killed process. All spools together are bounded.
"""

import asyncio
import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import grpc
import structlog

from servicekit.errors import DomainError

READ_BYTES: Final = 256 * 1024
_STRETCH: Final = 256 * 1024
"""Hashed and then written while it is in the cache of the core: that halves the cost of both."""

R = TypeVar("R")

log = structlog.get_logger(__name__)


class SpoolBudget:
    """Bytes that all spools of a gateway may take. Who asks first is served first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = limit
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def reserve(self, size: int) -> int:
        """Waits for `size` bytes (at most the whole budget) and returns how many were taken."""
        size = min(size, self._limit)
        if self._queue or size > self._free:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.give_back(size)
                raise
        else:
            self._free -= size
        return size

    def extend(self, size: int) -> bool:
        """Takes `size` more bytes at once, or says that there are none."""
        if size > self._free:
            return False
        self._free -= size
        return True

    def give_back(self, size: int) -> None:
        """Returns bytes and serves who waits."""
        self._free += size
        while self._queue:
            wanted, turn = self._queue[0]
            if turn.cancelled():
                self._queue.popleft()
            elif wanted <= self._free:
                self._queue.popleft()
                self._free -= wanted
                turn.set_result(None)
            else:
                return


class SpoolMismatchError(Exception):
    """The bytes are not those that were announced."""


class SpoolClosedError(Exception):
    """The run has ended; what it made is in storage."""


class Spool:
    """The audio of one narration: append at the end, read anywhere."""

    def __init__(self, file: BinaryIO, budget: SpoolBudget, reserved: int) -> None:
        self._file = file
        self._budget = budget
        self._reserved = reserved
        self._hash = hashlib.sha256()
        self._in_use = 0
        self._closing = False
        self.size = 0

    @classmethod
    async def open(cls, folder: Path, budget: SpoolBudget, *, expected_bytes: int) -> "Spool":
        """A new spool in `folder`, once the budget has room for `expected_bytes`."""
        reserved = await budget.reserve(expected_bytes)
        opening = asyncio.ensure_future(asyncio.to_thread(_temporary_file, folder))
        try:
            file = await asyncio.shield(opening)
        except OSError as error:
            budget.give_back(reserved)
            raise _failed(error) from error
        except BaseException:
            # The thread goes on without us; what it opens has to be closed all the same.
            opening.add_done_callback(_close)
            budget.give_back(reserved)
            raise
        return cls(file, budget, reserved)

    async def append(self, data: bytes, *, sha256: bytes) -> None:
        """Adds `data`; it can be read when this returns.

        SpoolMismatchError, and nothing is added, where its digest is not `sha256`; RESOURCE_EXHAUSTED / SPOOL_FULL
        beyond the budget; FAILED_PRECONDITION / SPOOL_FAILED where the disk does not take it.
        """
        over = self.size + len(data) - self._reserved
        if over > 0:
            if not self._budget.extend(over):
                raise DomainError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, "SPOOL_FULL", "There is no room for more audio in progress."
                )
            self._reserved += over
        try:
            await self._in_thread(partial(self._write, data, self.size, sha256))
        except OSError as error:
            raise _failed(error) from error
        self.size += len(data)

    async def read(self, offset: int, most: int = READ_BYTES) -> bytes:
        """Up to `most` bytes from `offset`; b"" where nothing has been appended yet. SpoolClosedError after `close`."""
        if self._closing:
            raise SpoolClosedError
        most = min(most, self.size - offset)
        if most <= 0:
            return b""
        try:
            return await self._in_thread(partial(os.pread, self._file.fileno(), most, offset))
        except OSError as error:
            raise _failed(error) from error

    def sha256(self) -> bytes:
        """SHA-256 of all bytes so far."""
        return self._hash.digest()

    def close(self) -> None:
        """Gives file and budget back, as soon as no thread uses the file any more."""
        if not self._closing:
            self._closing = True
            self._release_if_idle()

    async def _in_thread(self, work: Callable[[], R]) -> R:
        # A cancelled caller leaves its thread running: the file stays open until the thread, not the caller, is done.
        self._in_use += 1
        running = asyncio.ensure_future(asyncio.to_thread(work))
        running.add_done_callback(self._left)
        return await asyncio.shield(running)

    def _left(self, done: "asyncio.Future[R]") -> None:
        done.cancelled() or done.exception()
        self._in_use -= 1
        self._release_if_idle()

    def _release_if_idle(self) -> None:
        if self._closing and self._in_use == 0 and not self._file.closed:
            self._file.close()
            self._budget.give_back(self._reserved)

    def _write(self, data: bytes, offset: int, sha256: bytes) -> None:
        view, one, whole = memoryview(data), hashlib.sha256(), self._hash.copy()
        while view:
            stretch, view = view[:_STRETCH], view[_STRETCH:]
            one.update(stretch)
            whole.update(stretch)
            while stretch:
                written = os.pwrite(self._file.fileno(), stretch, offset)
                stretch = stretch[written:]
                offset += written
        if one.digest() != sha256:
            # What was written lies beyond the end, where nobody reads, and is written over.
            raise SpoolMismatchError
        self._hash = whole


def _close(opening: "asyncio.Future[BinaryIO]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _failed(error: OSError) -> DomainError:
    log.error("spool_failed", errno=error.errno, error=os.strerror(error.errno or 0))
    return DomainError(
        grpc.StatusCode.FAILED_PRECONDITION, "SPOOL_FAILED", "The gateway can not keep audio in progress on its disk."
    )


def _temporary_file(folder: Path) -> BinaryIO:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return tempfile.TemporaryFile(dir=folder, buffering=0)
