"""Notes of objects."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence

from servicekit.ids import new_id
from storage_service.errors import storage_conflict
from storage_service.records import ObjectKey, ObjectKind


def note_objects(connection: sqlite3.Connection, kind: ObjectKind, count: int, now: int) -> Sequence[ObjectKey]:
    """Notes new objects."""
    keys = [ObjectKey(kind, new_id()) for _ in range(count)]
    connection.executemany(
        "INSERT INTO objects (object_id, kind, state, note_time) VALUES (?, ?, 'NOTED', ?)",
        [(key.object_id, key.kind, now) for key in keys],
    )
    return keys


def mark_stored(connection: sqlite3.Connection, key: ObjectKey) -> None:
    """Makes a noted object STORED, in the transaction that adds its record; ABORTED / STORAGE_CONFLICT."""
    stored = connection.execute(
        "UPDATE objects SET state = 'STORED' WHERE object_id = ? AND kind = ? AND state = 'NOTED'",
        (key.object_id, key.kind),
    )
    if not stored.rowcount:
        raise storage_conflict()


def mark_deleted(connection: sqlite3.Connection, keys: Collection[ObjectKey], now: int) -> Collection[ObjectKey]:
    """Makes objects DELETED that are not STORED; which of them are DELETED now."""
    return [
        key
        for key in keys
        if connection.execute(
            "INSERT INTO objects (object_id, kind, state, note_time) VALUES (?, ?, 'DELETED', ?)"
            " ON CONFLICT (object_id) DO UPDATE SET state = 'DELETED' WHERE state <> 'STORED' RETURNING 1",
            (key.object_id, key.kind, now),
        ).fetchall()
    ]


def take_deleted(connection: sqlite3.Connection, noted_before: int, most: int) -> Sequence[ObjectKey]:
    """Objects whose bytes are to be removed, those that were noted before a time and never stored among them."""
    connection.execute(
        "UPDATE objects SET state = 'DELETED' WHERE state <> 'STORED' AND state = 'NOTED' AND note_time < ?",
        (noted_before,),
    )
    return to_keys(
        connection.execute(
            "SELECT object_id, kind FROM objects WHERE state <> 'STORED' AND state = 'DELETED' LIMIT ?", (most,)
        )
    )


def anything_to_take(connection: sqlite3.Connection, noted_before: int) -> bool:
    """True where `take_deleted` finds something."""
    found = connection.execute(
        "SELECT 1 FROM objects WHERE state <> 'STORED' AND (state = 'DELETED' OR note_time < ?) LIMIT 1",
        (noted_before,),
    )
    return found.fetchone() is not None


def remove_notes(connection: sqlite3.Connection, keys: Collection[ObjectKey]) -> None:
    """Removes DELETED objects."""
    connection.executemany(
        "DELETE FROM objects WHERE object_id = ? AND state = 'DELETED'", [(key.object_id,) for key in keys]
    )


def to_keys(rows: Iterable[sqlite3.Row]) -> list[ObjectKey]:
    """Rows with `object_id` and `kind`."""
    return [ObjectKey(ObjectKind(row["kind"]), row["object_id"]) for row in rows]
