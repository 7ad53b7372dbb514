"""The file: a tar of JSON lines and audio, written and read piece by piece.

Everything here blocks: call it on a thread.

tale-export.json        {"format": "tale-export", "version": 2}
stories/000001.jsonl    some stories, each a StoryRecord of tale.storage.v1 as JSON
audio/<story id>        their audio, in the same order
records/000008.jsonl    children, heroes, requests
records/000009.jsonl    removals, tombstones: of whatever was deleted before they were read, also of what stands above
end.json                how many of each there are: without it the file is cut
"""

import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from storage_service.exchange.lines import ExchangeError

HEAD: Final = "tale-export.json"
END: Final = "end.json"
FORMAT: Final[dict[str, Any]] = {"format": "tale-export", "version": 2}

STDOUT: Final = 1
_MAX_MEMBER: Final = 64 << 20
"""Bytes of a member that is read as a whole."""


STANDARD: Final = Path("-")
"""Standard input or output in place of a file."""


class ArchiveWriter:
    """Writes an archive. A file has its name only once it is whole and on the medium."""

    def __init__(self, path: Path) -> None:
        """Raises ExchangeError where the file cannot be made."""
        self._path = path
        self._part = None if path == STANDARD else path.with_name(f"{path.name}.part")
        with self._writing():
            self._file: IO[bytes] = os.fdopen(self._open(), "wb")
        self._left = 0
        self._padding = 0
        self.add(HEAD, json.dumps(FORMAT).encode())

    def add(self, name: str, data: bytes) -> None:
        """Adds a whole member."""
        self.begin(name, len(data))
        self.write(data)

    def begin(self, name: str, size: int) -> None:
        """Begins a member of `size` bytes, which `write` brings."""
        if self._left:
            raise ExchangeError(f"{self._name}: the member before {name} is not whole")
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        self._put(info.tobuf(tarfile.PAX_FORMAT))
        self._left, self._padding = size, -size % tarfile.BLOCKSIZE

    def write(self, data: bytes) -> None:
        """Writes more bytes of the present member."""
        self._left -= len(data)
        if self._left < 0:
            raise ExchangeError(f"{self._name}: a member is longer than it was said to be")
        self._put(data)
        if not self._left:
            self._put(bytes(self._padding))
            self._padding = 0

    def finish(self, counts: dict[str, int]) -> None:
        """Ends the archive and gives it its name."""
        self.add(END, json.dumps(counts).encode())
        self._put(bytes(2 * tarfile.BLOCKSIZE))
        with self._writing():
            self._file.flush()
            if self._part is not None:
                os.fsync(self._file.fileno())
            self._file.close()
            if self._part is not None:
                self._part.replace(self._path)

    def abandon(self) -> None:
        """Leaves nothing of an archive that was not finished, unless it went to standard output."""
        with suppress(OSError):
            self._file.close()
        if self._part is not None:
            self._part.unlink(missing_ok=True)

    def _open(self) -> int:
        if self._part is not None:
            return os.open(self._part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        if os.isatty(STDOUT):
            raise ExchangeError("standard output is a terminal: send it to a file or a pipe")
        return os.dup(STDOUT)

    @property
    def _name(self) -> str:
        return "standard output" if self._part is None else str(self._path)

    def _put(self, data: bytes) -> None:
        with self._writing():
            self._file.write(data)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ExchangeError(f"{self._name} cannot be written: {error.strerror}") from error


class Member(NamedTuple):
    """Something in an archive."""

    name: str
    size: int


class ArchiveReader:
    """Reads an archive from its start; ExchangeError where it is none, or cut."""

    def __init__(self, source: Path | IO[bytes]) -> None:
        """Reads a file by its name, or an open one, which stays open, from its start."""
        self._name = str(source) if isinstance(source, Path) else "standard input"
        try:
            if isinstance(source, Path):
                self._tar = tarfile.open(source, "r:")  # noqa: SIM115 - see close
            else:
                source.seek(0)
                self._tar = tarfile.open(fileobj=source, mode="r:")  # noqa: SIM115
        except OSError as error:
            raise ExchangeError(f"{self._name} cannot be read: {error.strerror}") from error
        except tarfile.TarError as error:
            raise self._damaged("is no export of this service") from error
        self._open: IO[bytes] | None = None
        try:
            self._check_head()
        except BaseException:
            self.close()
            raise

    def next(self) -> Member | None:
        """Returns the next member, None after the last."""
        try:
            info = self._tar.next()
            # What was read is not remembered: an archive may have any number of members.
            self._tar.members.clear()  # type: ignore[attr-defined]  # typeshed leaves it out
            self._open = None if info is None else self._tar.extractfile(info)
        except (tarfile.TarError, OSError) as error:
            raise self._damaged("is cut or damaged") from error
        return None if info is None else Member(info.name, info.size)

    def read(self, most: int) -> bytes:
        """Returns at most so many bytes of the present member; none at its end."""
        try:
            return b"" if self._open is None else self._open.read(most)
        except (tarfile.TarError, OSError) as error:
            raise self._damaged("is cut or damaged") from error

    def read_all(self, member: Member) -> bytes:
        """Returns the present member as a whole."""
        if member.size > _MAX_MEMBER:
            raise self._damaged(f"has a member that is too large ({member.name})")
        data = self.read(member.size)
        if len(data) != member.size:
            raise self._damaged("is cut")
        return data

    def close(self) -> None:
        """Closes the file."""
        self._tar.close()

    def _check_head(self) -> None:
        head = self.next()
        try:
            said = json.loads(self.read_all(head)) if head is not None and head.name == HEAD else None
        except ValueError:
            said = None
        if not isinstance(said, dict) or said.get("format") != FORMAT["format"]:
            raise self._damaged("is no export of this service")
        if said.get("version") != FORMAT["version"]:
            raise self._damaged(
                f"has version {said.get('version')!r} of the format, and this program reads version"
                f" {FORMAT['version']}: import it with the program that wrote it, or export again with this one"
            )

    def _damaged(self, what: str) -> ExchangeError:
        return ExchangeError(f"{self._name} {what}")
