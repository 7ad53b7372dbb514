"""Failures of the medium, for those who can only try again."""

import sqlite3
from typing import Final

import structlog

from storage_service.errors import storage_unavailable

_log: Final = structlog.stdlib.get_logger("storage_service.embedded")

_DEFECTS: Final = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
    sqlite3.DataError,
)


def as_domain_error(error: sqlite3.Error) -> Exception:
    """UNAVAILABLE / STORAGE_UNAVAILABLE where the medium fails (disk full, damaged, locked); a defect stays itself."""
    name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    if isinstance(error, _DEFECTS) or name == "SQLITE_ERROR":
        return error
    _log.error("the database fails", sqlite_error=name)
    return storage_unavailable()
