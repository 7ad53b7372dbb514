"""Files of a FolderObjects. Everything here blocks: call it on a thread."""

import errno
import hashlib
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from storage_service.errors import check_digest
from storage_service.records import Blob, Digest

_STRETCH: Final = 256 << 10
"""Hashed and then written while it is in the cache of the core: that halves the cost of both."""

_NO_COPY: Final = frozenset({errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
"""The kernel cannot copy between these two files."""


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
            self._close(keep=True)
            return digest

    def append_copy(self, source: Path, blob: Blob) -> bool:
        """Adds the bytes of a file, verified; False where they are missing or damaged: the file is good for nothing."""
        with self._lock:
            try:
                fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            try:
                if os.fstat(fd).st_size != blob.size or self._hash_file(fd, blob.size) != blob.sha256:
                    return False
                _copy(fd, self._opened(), blob.size)
            finally:
                os.close(fd)
            self._size += blob.size
            return True

    def discard(self) -> None:
        """Removes the file. Where that fails it is left to the removal of its object."""
        with self._lock, suppress(OSError):
            self._closed = True
            self._close(keep=False)
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

    def _hash_file(self, fd: int, size: int) -> bytes:
        own = hashlib.sha256()
        position = 0
        while position < size and (block := os.pread(fd, _STRETCH, position)):
            own.update(block)
            self._hash.update(block)
            position += len(block)
        return own.digest()

    def _opened(self) -> int:
        if self._fd is None:
            if self._closed:
                raise ValueError("the file was discarded")
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            try:
                self._fd = os.open(self._path, flags, 0o600)
            except FileNotFoundError:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if self._fsync:
                    _sync_folder(self._path.parent.parent)
                self._fd = os.open(self._path, flags, 0o600)
        return self._fd

    def _close(self, *, keep: bool) -> None:
        fd = self._opened() if keep else self._fd
        if fd is None:
            return
        try:
            if keep and self._fsync:
                os.fsync(fd)
        finally:
            self._fd = None
            os.close(fd)
        if keep and self._fsync:
            _sync_folder(self._path.parent)


def read_range(path: Path, size: int, position: int, end: int) -> bytes:
    """Bytes [position, end) of a file of `size` bytes; empty where it is missing or has another size."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(fd, end - position, position) if os.fstat(fd).st_size == size else b""
    finally:
        os.close(fd)


def _copy(source: int, target: int, size: int) -> None:
    position = 0
    while position < size:
        try:
            copied = os.copy_file_range(source, target, size - position, position)
        except OSError as error:
            if error.errno not in _NO_COPY:
                raise
            copied = os.write(target, os.pread(source, _STRETCH, position))
        if not copied:
            raise OSError(errno.EIO, "a file became shorter while it was copied")
        position += copied


def _sync_folder(path: Path) -> None:
    """Brings the names in a folder to the medium."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
