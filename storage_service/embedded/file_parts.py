"""Files on their way in and out. Everything here blocks: call it on a thread."""

import hashlib
import os
import threading
from pathlib import Path
from typing import Final

from storage_service.records import Digest

_BLOCK: Final = 1 << 20
_STRETCH: Final = 256 << 10
"""Hashed and then written while it is in the cache of the core: that halves the cost of both."""


class PartFile:
    """A file that has no name yet. It may be used from one thread after another, and discarded at any moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._hash = hashlib.sha256()
        self._size = 0
        self._fd: int | None = None
        self._closed = False

    def create(self) -> None:
        """Makes the file and its folder."""
        with self._lock:
            if self._closed:
                return
            folder = self._path.parent
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
                sync_folder(folder.parent)
            self._fd = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        """Adds bytes; OSError where the medium does not take them."""
        with self._lock:
            fd = self._opened()
            view = memoryview(data)
            while view:
                stretch = view[:_STRETCH]
                self._hash.update(stretch)
                self._size += len(stretch)
                view = view[_STRETCH:]
                while stretch:
                    stretch = stretch[os.write(fd, stretch) :]

    def digest(self) -> Digest:
        """Size and hash of what was written."""
        return Digest(self._size, self._hash.digest())

    def publish(self, path: Path) -> None:
        """Brings the bytes to the medium and then gives them their name."""
        with self._lock:
            fd = self._opened()
            os.fsync(fd)
            self._path.rename(path)
            sync_folder(path.parent)

    def discard(self) -> None:
        """Closes the file, and removes it where it was not published."""
        with self._lock:
            self._closed = True
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None
                self._path.unlink(missing_ok=True)

    def _opened(self) -> int:
        if self._fd is None:
            raise ValueError("the file is not open")
        return self._fd


class SourceFile:
    """A kept file of `size` bytes that is read. It may be used from one thread after another."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._lock = threading.Lock()
        self._hash = hashlib.sha256()
        self._fd: int | None = None
        self._closed = False

    def read(self, position: int, end: int) -> bytes:
        """The next bytes of [position, end), at most 1 MiB; empty where the file is missing or has another size."""
        with self._lock:
            fd = self._open()
            if fd is None:
                return b""
            block = os.pread(fd, min(_BLOCK, end - position), position)
            self._hash.update(block)
            return block

    def sha256(self) -> bytes:
        """Hash of all that was read."""
        return self._hash.digest()

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._closed = True
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _open(self) -> int | None:
        if self._closed:
            return None
        if self._fd is None:
            try:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
        return self._fd if os.fstat(self._fd).st_size == self._size else None


def sync_folder(path: Path) -> None:
    """Brings the names in a folder to the medium."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
