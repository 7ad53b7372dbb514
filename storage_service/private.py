"""Folders and files that only their owner can read."""

import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

_log: Final = structlog.stdlib.get_logger("storage_service.private")

_OTHERS: Final = 0o077


def make_folder(folder: Path) -> None:
    """Makes a folder, and those above it that are missing, for their owner alone; OSError where it cannot be."""
    # With `parents`, `mkdir` would give its mode to the last folder alone.
    missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def ownership(path: Path) -> str:
    """Returns who owns a path, or the nearest folder above it that exists, and who this process is."""
    present = next(each for each in (path, *path.absolute().parents) if os.path.lexists(each))
    return f"{present} belongs to user {_name(present.lstat().st_uid)}, and this process is user {_name(os.geteuid())}"


def _name(uid: int) -> str:
    try:
        return f"{uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return str(uid)


def close_to_others(paths: Iterable[Path]) -> None:
    """Takes from others their access to those of the folders and files that exist, with one log line if any had it."""
    closed, refused = 0, 0
    for path in paths:
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & _OTHERS:
                path.chmod(mode & ~_OTHERS)
                closed += 1
        except FileNotFoundError:
            continue
        except PermissionError:
            refused += 1
    if refused:
        _log.warning("store files open to other users", count=refused)
    if closed:
        _log.warning("store files closed to other users", count=closed)


def create_file(path: Path) -> int:
    """Returns the descriptor of a file, for its owner alone, which is made where it is missing."""
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
