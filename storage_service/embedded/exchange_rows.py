"""Rows of the database that are no stories, as they are carried elsewhere and back."""

import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

_KINDS: Final = {"child": 1, "hero": 2}
_NAMES: Final = {number: name for name, number in _KINDS.items()}


class Table(NamedTuple):
    """A table, by what its rows are read in order, and how a row becomes a line. Rows of `pages` come by `rowid`."""

    query: str
    key: tuple[str, ...]
    to_line: Callable[[sqlite3.Row], dict[str, Any]]


def _profile(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "kind": _NAMES[row["kind"]],
        **{name: row[name] for name in ("id", "owner", "revision", "create_time", "update_time")},
        "profile": _text(row["profile"]),
    }


def _request(row: sqlite3.Row) -> dict[str, Any]:
    given = {name: row[name] for name in ("owner", "request_id", "rpc", "resource_id", "create_time")}
    return {"kind": "request", **given, "fingerprint": _text(row["fingerprint"])}


def _tombstone(row: sqlite3.Row) -> dict[str, Any]:
    return {"kind": "tombstone", "id": row["resource_id"], "owner": row["owner"], "delete_time": row["delete_time"]}


FIRST: Final = (
    Table("SELECT * FROM profiles WHERE", ("id",), _profile),
    Table("SELECT * FROM requests WHERE", ("owner", "request_id"), _request),
)

# Tombstones come after all else: whatever was deleted while it was read has one.
LAST: Final = (Table("SELECT * FROM tombstones WHERE", ("resource_id",), _tombstone),)

_COLUMNS: Final = {
    "profile": ("id", "owner", "kind", "revision", "create_time", "update_time", "profile"),
    "request": ("owner", "request_id", "rpc", "fingerprint", "resource_id", "create_time"),
    "tombstone": ("resource_id", "owner", "delete_time"),
}
_OF_BYTES: Final = frozenset({"profile", "fingerprint"})


def page_of(connection: sqlite3.Connection, table: Table, after: sqlite3.Row | None, most: int) -> list[sqlite3.Row]:
    """At most `most` rows behind `after`."""
    key = ", ".join(table.key)
    marks = ", ".join("?" * len(table.key))
    start = tuple("" if after is None else after[name] for name in table.key)
    return connection.execute(f"{table.query} ({key}) > ({marks}) ORDER BY {key} LIMIT ?", (*start, most)).fetchall()


def keep_line(connection: sqlite3.Connection, line: Mapping[str, Any]) -> bool:
    """Keeps a line; False where it is known, or speaks against what is kept or was deleted here."""
    kind = line["kind"]
    table = "profile" if kind in _KINDS else kind
    if table == "profile" and _finds(connection, "tombstones WHERE resource_id = ?", line["id"]):
        return False
    if table == "tombstone":
        about = line["id"]
        if _finds(connection, "stories WHERE id = ?", about) or _finds(connection, "profiles WHERE id = ?", about):
            return False
    given = {**line, "kind": _KINDS.get(kind), "resource_id": line.get("resource_id", line.get("id"))}
    columns = _COLUMNS[table]
    values = [b64decode(given[name]) if name in _OF_BYTES else given[name] for name in columns]
    added = connection.execute(
        f"INSERT OR IGNORE INTO {table}s ({', '.join(columns)}) VALUES ({', '.join('?' * len(values))})",  # noqa: S608
        values,
    )
    return added.rowcount > 0


def _finds(connection: sqlite3.Connection, where: str, value: str) -> bool:
    return connection.execute(f"SELECT 1 FROM {where}", (value,)).fetchone() is not None  # noqa: S608 - our own text


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")
