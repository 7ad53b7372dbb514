"""Brings a database to the present version. Migrations are `migrations/NNNN_name.sql`, applied once, in order."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

from servicekit.settings import ConfigurationError
from storage_service.embedded.damage import check_not_emptied, check_pages, damaged, is_damage

_LAYOUT: Final = 2
"""`PRAGMA application_id`. Layouts before the first release had 0; no migration changes them."""


class Migration(NamedTuple):
    """One step; `version` is what `PRAGMA user_version` says after it."""

    version: int
    sql: str


def migrations() -> list[Migration]:
    """Returns all steps, in order."""
    folder = resources.files("storage_service.embedded") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [Migration(int(file.name[:4]), file.read_text("utf-8")) for file in files]


def migrate(connection: sqlite3.Connection) -> None:
    """Applies what is missing, each step in a transaction; ConfigurationError for a newer database."""
    steps = migrations()
    present = _known_version(connection)
    for step in steps:
        if step.version > present:
            _apply(connection, step)


def check_version(connection: sqlite3.Connection) -> int:
    """Returns the version of a database; ConfigurationError, with the remedy, where it is not this program's."""
    present = _known_version(connection)
    if present < (needed := migrations()[-1].version):
        raise ConfigurationError(
            f"TALE_DATA_DIR holds a store with schema version {present}, and this program needs version {needed}:"
            " run `python -m storage_service migrate`, or start the service, which does the same"
        )
    return present


def check(path: Path) -> int:
    """Returns the version of the database in a file; 0 where there is none yet.

    Raises ConfigurationError, with the remedy, for an older or newer version than this program's, and for a file that
    is not such a database or is damaged. Reads all of it.
    """
    if not path.exists():
        return 0
    check_not_emptied(path)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            present = check_version(connection)
            check_pages(connection, path)
    except sqlite3.Error as error:
        if is_damage(error):
            raise damaged(path, str(error)) from error
        raise ConfigurationError(f"TALE_DATA_DIR: {path} cannot be read ({error.sqlite_errorname})") from error
    return present


def _known_version(connection: sqlite3.Connection) -> int:
    present, known = _number(connection, "user_version"), migrations()[-1].version
    if present > known:
        raise ConfigurationError(
            f"TALE_DATA_DIR holds a store with schema version {present}, and this program knows version {known}:"
            " start a newer program, or name another folder"
        )
    if present and _number(connection, "application_id") != _LAYOUT:
        raise ConfigurationError(
            "TALE_DATA_DIR holds a store of a layout before the first release, which no migration changes:"
            " remove its folder `storage`, or name another folder"
        )
    return present


def _apply(connection: sqlite3.Connection, step: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _number(connection, "user_version") < step.version:
            for statement in _statements(step.sql):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {step.version}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(sql: str) -> Iterator[str]:
    # `executescript` would end the transaction.
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (number,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(number)
