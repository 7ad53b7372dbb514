"""The ObjectNotes in SQLite."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence

from servicekit.ids import new_id
from storage_service.embedded.database import SqliteStore, Transaction, writing
from storage_service.errors import storage_conflict
from storage_service.records import ObjectKey, ObjectKind


def _note(tx: Transaction, kind: ObjectKind, count: int) -> Sequence[ObjectKey]:
    keys = [ObjectKey(kind, new_id()) for _ in range(count)]
    tx.executemany(
        "INSERT INTO objects (object_id, kind, state, note_time) VALUES (?, ?, 'NOTED', ?)",
        [(key.object_id, key.kind, tx.now) for key in keys],
    )
    return keys


def mark_stored(tx: Transaction, key: ObjectKey) -> None:
    """Makes a noted object STORED, in the transaction that adds its record; ABORTED / STORAGE_CONFLICT."""
    stored = tx.execute(
        "UPDATE objects SET state = 'STORED' WHERE object_id = ? AND kind = ? AND state = 'NOTED'",
        (key.object_id, key.kind),
    )
    if not stored.rowcount:
        raise storage_conflict()


def _mark_deleted(tx: Transaction, keys: Collection[ObjectKey]) -> Collection[ObjectKey]:
    return [
        key
        for key in keys
        if tx.execute(
            "INSERT INTO objects (object_id, kind, state, note_time) VALUES (?, ?, 'DELETED', ?)"
            " ON CONFLICT (object_id) DO UPDATE SET state = 'DELETED' WHERE state <> 'STORED' RETURNING 1",
            (key.object_id, key.kind, tx.now),
        ).fetchall()
    ]


def _take_deleted(tx: Transaction, *, grace: int, most: int, after: str = "") -> Sequence[ObjectKey]:
    tx.execute(
        "UPDATE objects SET state = 'DELETED' WHERE state <> 'STORED' AND state = 'NOTED' AND note_time < ?",
        (tx.now - grace,),
    )
    return to_keys(
        tx.execute(
            "SELECT object_id, kind FROM objects WHERE state <> 'STORED' AND state = 'DELETED' AND object_id > ?"
            " ORDER BY object_id LIMIT ?",
            (after, most),
        )
    )


def _remove_notes(tx: Transaction, keys: Collection[ObjectKey]) -> None:
    tx.executemany("DELETE FROM objects WHERE object_id = ? AND state = 'DELETED'", [(key.object_id,) for key in keys])


def to_keys(rows: Iterable[sqlite3.Row]) -> list[ObjectKey]:
    """Rows with `object_id` and `kind`."""
    return [ObjectKey(ObjectKind(row["kind"]), row["object_id"]) for row in rows]


class SqliteObjectNotes(SqliteStore):
    """Notes objects in a database of SQLite; see ObjectNotes for the methods."""

    note = writing(_note)
    mark_deleted = writing(_mark_deleted)
    take_deleted = writing(_take_deleted)
    remove_notes = writing(_remove_notes)
