"""The ObjectStore in files of a folder."""

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import structlog

from servicekit.settings import ConfigurationError
from storage_service.errors import (
    audio_corrupt,
    audio_url_unsupported,
    check_digest,
    storage_full,
    storage_unavailable,
)
from storage_service.ports import ANY_BYTES, Upload
from storage_service.private import close_to_others, make_folder
from storage_service.records import Blob, Digest, ObjectKey, ObjectKind, SignedUrl, object_folders

_STRETCH: Final = 256 << 10
"""Hashed and then written while it is in the cache of the core: that halves the cost of both."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class NewFile:
    """A file on its way in. It may be used from one thread after another, and discarded at any moment.

    It has its name from the start: nothing refers to it before it is whole. With `fsync` it then survives the machine,
    not the process alone.
    """

    def __init__(self, path: Path, *, fsync: bool) -> None:
        self._path = path
        self._fsync = fsync
        self._lock = threading.Lock()
        self._hash = hashlib.sha256()
        self._size = 0
        self._fd: int | None = None
        self._closed = False

    def write(self, blocks: Sequence[bytes]) -> None:
        """Adds bytes; OSError where the medium does not take them."""
        with self._lock:
            for block in blocks:
                self._write(block)

    def finish(self, blocks: Sequence[bytes], expected: Digest | None) -> Digest:
        """Adds the last bytes and closes the file; AUDIO_MISMATCH where it is not as expected."""
        with self._lock:
            if self._fd is None and expected is not None:
                # All of it is here: nothing is written where it is not what it should be.
                whole = hashlib.sha256()
                for block in blocks:
                    whole.update(block)
                check_digest(Digest(sum(map(len, blocks)), whole.digest()), expected)
                for block in blocks:
                    self._put(memoryview(block))
                digest = expected
            else:
                for block in blocks:
                    self._write(block)
                digest = Digest(self._size, self._hash.digest())
                check_digest(digest, expected)
            self._close(complete=True)
            return digest

    def discard(self) -> None:
        """Removes the file. Where that fails it is left to the removal of its object."""
        with self._lock, suppress(OSError):
            self._closed = True
            self._close(complete=False)
            self._path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            stretch, view = view[:_STRETCH], view[_STRETCH:]
            self._hash.update(stretch)
            self._size += len(stretch)
            self._put(stretch)

    def _put(self, view: memoryview) -> None:
        fd = self._opened()
        while view:
            view = view[os.write(fd, view) :]

    def _opened(self) -> int:
        if self._fd is None:
            if self._closed:
                raise ValueError("the file was discarded")
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            try:
                self._fd = os.open(self._path, flags, 0o600)
            except FileNotFoundError:
                make_folder(self._path.parent)
                if self._fsync:
                    _sync_folder(self._path.parent.parent)
                self._fd = os.open(self._path, flags, 0o600)
        return self._fd

    def _close(self, *, complete: bool) -> None:
        fd = self._opened() if complete else self._fd
        if fd is None:
            return
        try:
            if complete and self._fsync:
                os.fsync(fd)
        finally:
            self._fd = None
            os.close(fd)
        if complete and self._fsync:
            _sync_folder(self._path.parent)


def read_range(path: Path, size: int, position: int, end: int) -> bytes:
    """Returns bytes [position, end) of a file of `size` bytes; empty where it is missing or has another size."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(fd, end - position, position) if os.fstat(fd).st_size == size else b""
    finally:
        os.close(fd)


def _sync_folder(path: Path) -> None:
    """Brings the names in a folder to the medium."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


P = ParamSpec("P")
T = TypeVar("T")

_log: Final = structlog.stdlib.get_logger("storage_service.object_store")

_BLOCK: Final = 1 << 20


class FolderObjects:
    """Stores objects in files under `root`, for their owner alone; see ObjectStore for the methods.

    Objects of the kinds `fsync` survive the machine, the others the process. All work on files happens on `threads`
    threads. `variable` is what an operator sets to choose the folder.
    """

    def __init__(
        self, root: Path, *, fsync: Collection[ObjectKind], threads: int = 4, variable: str = "TALE_DATA_DIR"
    ) -> None:
        self._root = root
        self._fsync = frozenset(fsync)
        self._variable = variable
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="object-files")

    async def open(self) -> None:
        """Makes the folder, and closes those in it to others; ConfigurationError where it cannot be."""
        try:
            await asyncio.to_thread(make_folder, self._root)
            await asyncio.to_thread(close_to_others, object_folders(self._root))
        except OSError as error:
            raise ConfigurationError(
                f"{self._variable} must be a folder that the service can write to ({error.strerror}: {self._root})"
            ) from error

    async def close(self) -> None:
        """Waits for what the threads still do."""
        await asyncio.to_thread(self._threads.shutdown)

    async def settle(self) -> None:
        """Returns at once: a file is discarded as its upload is left, after the thread that writes it."""

    @asynccontextmanager
    async def upload(self, key: ObjectKey, *, content_type: str = ANY_BYTES) -> AsyncGenerator[Upload, None]:
        """Takes a file in."""
        del content_type
        upload = _Upload(self, NewFile(self._root / key.path, fsync=key.kind in self._fsync))
        try:
            yield upload
        finally:
            if upload.started and not upload.published:
                await self.discard(upload.file)

    async def read(self, blob: Blob, *, offset: int = 0, limit: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yields the bytes of a file, in blocks of 1 MiB."""
        end = blob.size if limit is None else min(blob.size, offset + limit)
        path = self._root / blob.key.path
        sha256 = hashlib.sha256() if offset == 0 and end == blob.size else None
        position = offset

        def read_block() -> bytes:
            block = read_range(path, blob.size, position, min(end, position + _BLOCK))
            if sha256 is not None:
                sha256.update(block)
                if position + len(block) == end and sha256.digest() != blob.sha256:
                    return b""
            return block

        while position < end:
            block = await self.run(read_block)
            if not block:
                raise audio_corrupt()
            position += len(block)
            yield block

    async def remove(self, keys: Collection[ObjectKey]) -> None:
        """Removes files."""
        paths = [self._root / key.path for key in keys]
        if paths:
            await self.run(_unlink, paths)

    async def url(self, blob: Blob, *, expiry: int) -> SignedUrl:
        """Raises AUDIO_URL_UNSUPPORTED: files have no address."""
        del blob, expiry
        raise audio_url_unsupported()

    async def discard(self, file: NewFile) -> None:
        """Removes a file that is not whole, even where its caller is gone and a thread is still at work for it."""
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._threads, file.discard))

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work` on a thread; UNAVAILABLE / STORAGE_UNAVAILABLE or STORAGE_FULL where the medium fails."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, lambda: work(*args, **kwargs))
        except OSError as error:
            _log.error("store file failed", why=error.strerror)
            raise (storage_full() if error.errno in _FULL else storage_unavailable()) from error


class _Upload:
    """A file on its way in. Up to 1 MiB waits in memory."""

    def __init__(self, files: FolderObjects, file: NewFile) -> None:
        self.file = file
        self.started = False
        self.published = False
        self._files = files
        # Blocks, not a bytearray: that one moves all its bytes each time it grows.
        self._waiting: list[bytes] = []
        self._size = 0

    async def write(self, data: bytes) -> None:
        """Adds bytes."""
        self._waiting.append(data)
        self._size += len(data)
        if self._size > _BLOCK:
            self.started = True
            waiting, self._waiting, self._size = self._waiting, [], 0
            await self._files.run(self.file.write, waiting)

    async def publish(self, expected: Digest | None = None) -> Digest:
        """Writes the rest and closes the file."""
        self.started = True
        digest = await self._files.run(self.file.finish, self._waiting, expected)
        self.published = True
        return digest


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
