"""Finds out whether a database is damaged, and reports it with the remedy."""

import sqlite3
from pathlib import Path
from typing import Final

from servicekit.settings import ConfigurationError

_LONGEST: Final = 200
_DAMAGED: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def is_damage(error: sqlite3.Error) -> bool:
    """Returns True where SQLite reports that the content of the file is not what it should be."""
    return getattr(error, "sqlite_errorname", "").startswith(_DAMAGED)


def damaged(path: Path, what: str) -> ConfigurationError:
    """Returns the error of a start with a damaged database."""
    said = " ".join(what.removeprefix("*** in database main ***").split())[:_LONGEST]
    return ConfigurationError(
        f"TALE_DATA_DIR: {path} is damaged ({said}): restore the folder from a backup, or move it away and import an"
        " export into a new one (docs/storage.md, Backups)"
    )


def check_not_emptied(path: Path) -> None:
    """Raises ConfigurationError for a file that lost its content: it is empty, and there is audio beside it."""
    if not path.exists() or path.stat().st_size:
        return
    if any((path.parent / name).exists() for name in ("audio", "segments")):
        raise damaged(path, "the file is empty")


def check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """Raises ConfigurationError where a page is damaged. Reads all pages, or those until it is interrupted."""
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
            raise
        return
    if found != "ok" and "interrupted" not in found:
        raise damaged(path, found)
