"""Room on the disk that is given up where the disk is full, so that a removal, which makes room, can be written."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from storage_service.private import create_file

SIZE: Final = 2 << 20
"""Bytes: the removal of a story writes some hundred KB."""


class Reserve:
    """A file of zeros."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def hold(self) -> bool:
        """Takes the room, unless it is held; False where there is none."""
        try:
            fd = create_file(self._path)
        except OSError:
            # The file itself needs room too, if only for its name.
            return False
        try:
            if os.fstat(fd).st_size < SIZE:
                os.posix_fallocate(fd, 0, SIZE)
        except OSError:
            with suppress(OSError):
                os.ftruncate(fd, 0)
            return False
        finally:
            os.close(fd)
        return True

    def give_up(self) -> bool:
        """Gives the room back to the disk; False where none was held."""
        try:
            held = self._path.stat().st_size > 0
            os.truncate(self._path, 0)
        except OSError:
            return False
        return held
