"""A file system of its own that can be filled, as only root can mount one."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PAGE = 4096


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A new file system at `folder`."""
    folder.mkdir()
    options = f"size={mebibytes}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leaves no byte; the file that takes the room."""
    filler = disk / "filler"
    room = os.statvfs(disk)
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        for _ in range(room.f_bavail * room.f_frsize // PAGE + 1):
            file.write(bytes(PAGE))
    assert 0 == os.statvfs(disk).f_bavail
    return filler
