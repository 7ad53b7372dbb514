"""The lock of a store's folder: one process writes to it."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from servicekit.settings import ConfigurationError
from storage_service.private import create_file

_PID_BYTES: Final = 20


class FolderLock:
    """A lock that the kernel releases when its process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def take(self) -> None:
        """Takes the lock; ConfigurationError with the remedy where another process has it."""
        fd = create_file(self._path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, _PID_BYTES, 0).decode("ascii", "replace").strip()
            os.close(fd)
            raise ConfigurationError(
                f"TALE_DATA_DIR: another storage process{f' ({holder})' if holder else ''} uses {self._path.parent}:"
                " stop it, or set TALE_DATA_DIR to another folder"
            ) from None
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        # The same length each time: on a full disk it is written in place, or not at all.
        with suppress(OSError):
            os.pwrite(fd, f"pid {os.getpid()}".ljust(_PID_BYTES).encode(), 0)

    def release(self) -> None:
        """Gives the lock back, if it is held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
