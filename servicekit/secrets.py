"""Reads keys from the environment, or from files that are read again when they change."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic import SecretStr

_log: Final = structlog.stdlib.get_logger(__name__)

_LOOK_SECONDS: Final = 5.0
_MAX_BYTES: Final = 16_384
_OPEN: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""A pipe is not waited for."""


def version_of(file: Path) -> tuple[int, ...]:
    """Returns what differs once a file has been written, replaced, removed or closed to this process."""
    try:
        state = file.stat()
    except OSError as error:
        return (error.errno or 0,)
    # A rewrite may keep time and size, but not the time of its change, which cannot be set.
    return state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino, state.st_dev


T = TypeVar("T")


class WatchedFiles(Generic[T]):
    """What `read` makes of files, made again once one of them has changed.

    Where that fails, `failed` is called, once for each change of the files. What the system refuses to read (OSError)
    is read again each time, since that may last for a moment; what is `unusable`, with the next change.
    """

    def __init__(
        self,
        *files: Path,
        read: Callable[[], T],
        unusable: type[Exception],
        failed: Callable[[Exception], None],
    ) -> None:
        self._files = files
        self._read = read
        self._unusable = unusable
        self._on_failure = failed
        self._seen: tuple[tuple[int, ...], ...] | None = None
        self._failed: tuple[tuple[int, ...], ...] | None = None

    def first(self) -> T:
        """Returns the present content. Raises what `read` raises."""
        seen = self._versions()
        content = self._read()
        self._seen = seen
        return content

    def changed(self) -> T | None:
        """Returns the content if it is another one; None where it is the same, or fails."""
        seen = self._versions()
        if seen == self._seen:
            return None
        try:
            content = self._read()
        except (OSError, self._unusable) as error:
            if seen != self._failed:
                self._on_failure(error)
            self._failed = seen
            self._seen = None if isinstance(error, OSError) else seen
            return None
        self._seen, self._failed = seen, None
        return content

    def _versions(self) -> tuple[tuple[int, ...], ...]:
        return tuple(map(version_of, self._files))


class SecretSource:
    """A key that may rotate: the file's content where a file is named, else the value that was given at start.

    The file is checked at most every five seconds. While it cannot be read, is empty or no regular file (a pipe could
    block), the last good key stays.
    """

    def __init__(
        self,
        value: SecretStr | None,
        file: Path | None = None,
        *,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is the variable of the key, for the log."""
        self._value = value.get_secret_value().strip() if value is not None else ""
        self._file = file
        self._name = name
        self._clock = clock
        self._seen: tuple[int, ...] | None = None
        self._look_at = float("-inf")

    def get(self) -> str:
        """Returns the present key, "" if none is set. Reads a small local file: fast enough for the event loop."""
        if self._file is not None and self._clock() >= self._look_at:
            self._look_at = self._clock() + _LOOK_SECONDS
            self._reread(self._file)
        return self._value

    def _reread(self, file: Path) -> None:
        try:
            seen = version_of(file)
            if seen == self._seen:
                return
            with os.fdopen(os.open(file, _OPEN), "rb") as opened:
                if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                    raise OSError("not a regular file")  # noqa: TRY301 - one place reports all that is wrong
                value = opened.read(_MAX_BYTES).decode("utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            _log.warning("key file not read", variable=f"{self._name}_FILE", error=type(error).__name__)
            return
        if not value:
            _log.warning("key file empty", variable=f"{self._name}_FILE")
            return
        if self._seen is not None:
            _log.info("key read again", variable=f"{self._name}_FILE")
        self._seen, self._value = seen, value
