"""The ExchangeStore in SQLite."""

import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from storage_service.embedded.audio_rows import load_audio, store_audio
from storage_service.embedded.checkpointing import store_manifest
from storage_service.embedded.creating import insert_story
from storage_service.embedded.database import SqliteStore, Transaction, reading, writing
from storage_service.embedded.rows import load_record
from storage_service.exchange.lines import PAGE, Line
from storage_service.messages import without_segments
from storage_service.records import Blob, ObjectKey
from tale.storage.v1 import storage_pb2


class _Table(NamedTuple):
    """Where lines of a kind are: a query and the columns of its key, in order, and all columns that are carried."""

    name: str
    where: str
    key: tuple[str, ...]
    columns: tuple[str, ...]


_PROFILE: Final = ("id", "owner", "revision", "create_time", "update_time", "profile")
_TABLES: Final = {
    "child": _Table("profiles", "kind = 1 AND", ("id",), _PROFILE),
    "hero": _Table("profiles", "kind = 2 AND", ("id",), _PROFILE),
    "request": _Table(
        "requests",
        "",
        ("owner", "request_id"),
        ("owner", "request_id", "rpc", "fingerprint", "resource_id", "create_time"),
    ),
    "tombstone": _Table("tombstones", "", ("resource_id",), ("resource_id", "owner", "delete_time")),
}
_PROFILE_KINDS: Final = {"child": 1, "hero": 2}
_OF_BYTES: Final = frozenset({"profile", "fingerprint"})


def _lines(tx: Transaction, kind: str, after: Line | None) -> Sequence[Line]:
    table = _TABLES[kind]
    key, marks = ", ".join(table.key), ", ".join("?" * len(table.key))
    start = ["" if after is None else _row(after)[name] for name in table.key]
    rows = tx.execute(
        f"SELECT * FROM {table.name} WHERE {table.where} ({key}) > ({marks}) ORDER BY {key} LIMIT ?",  # noqa: S608
        (*start, PAGE),
    )
    return [_line(kind, row) for row in rows]


def _line(kind: str, row: sqlite3.Row) -> Line:
    line: Line = {"kind": kind, **{name: row[name] for name in _TABLES[kind].columns}}
    for name in _OF_BYTES & line.keys():
        line[name] = b64encode(line[name]).decode("ascii")
    if kind == "tombstone":
        line["id"] = line.pop("resource_id")
    return line


def _row(line: Line) -> dict[str, object]:
    row = {**line, "resource_id": line.get("resource_id", line.get("id")), "kind": _PROFILE_KINDS.get(line["kind"])}
    return row | {name: b64decode(line[name]) for name in _OF_BYTES & line.keys()}


def _keep_lines(tx: Transaction, lines: Sequence[Line]) -> int:
    return sum(_keep_line(tx, line) for line in lines)


def _keep_line(tx: Transaction, line: Line) -> bool:
    """Stores a line; False where it is known, or speaks against what is stored or was deleted here."""
    kind = line["kind"]
    table = _TABLES[kind]
    against = {
        "profiles": "SELECT 1 FROM tombstones WHERE resource_id = ?1",
        "tombstones": "SELECT 1 FROM stories WHERE id = ?1 UNION ALL SELECT 1 FROM profiles WHERE id = ?1",
    }.get(table.name)
    if against is not None and tx.execute(against, (line["id"],)).fetchone() is not None:
        return False
    columns = table.columns if kind not in _PROFILE_KINDS else ("kind", *table.columns)
    row = _row(line)
    added = tx.execute(
        f"INSERT OR IGNORE INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",  # noqa: S608
        [row[name] for name in columns],
    )
    return added.rowcount > 0


def _story_ids(tx: Transaction, after: str) -> Sequence[tuple[str, str]]:
    return [
        (row["owner"], row["id"])
        for row in tx.execute("SELECT id, owner FROM stories WHERE id > ? ORDER BY id LIMIT ?", (after, PAGE))
    ]


def _story(tx: Transaction, owner: str, story_id: str) -> tuple[storage_pb2.StoryRecord, Blob | None]:
    stored = load_audio(tx, story_id)
    return load_record(tx, owner, story_id, full=True), None if stored is None else stored.blob


def _missing(tx: Transaction, story_ids: Collection[str]) -> Collection[str]:
    marks = ", ".join("?" * len(story_ids))
    known = tx.execute(
        f"SELECT id FROM stories WHERE id IN ({marks}) UNION"  # noqa: S608 - marks only
        f" SELECT resource_id FROM tombstones WHERE resource_id IN ({marks})",
        [*story_ids, *story_ids],
    )
    return set(story_ids).difference(row["id"] for row in known)


def _keep_story(tx: Transaction, record: storage_pb2.StoryRecord, key: ObjectKey | None) -> bool:
    story_id, audio = record.story.id, record.story.audio
    if not _missing(tx, [story_id]):
        return False
    insert_story(tx, record)
    if key is not None:
        store_audio(tx, story_id, without_segments(audio), key, len(audio.segments))
        store_manifest(tx, story_id, audio.audio_id, audio.segments)
    return True


class SqliteExchangeStore(SqliteStore):
    """Carries over what a database of SQLite stores; see ExchangeStore for the methods."""

    lines = reading(_lines)
    story_ids = reading(_story_ids)
    story = reading(_story)
    keep_lines = writing(_keep_lines)
    missing = reading(_missing)
    keep_story = writing(_keep_story)
