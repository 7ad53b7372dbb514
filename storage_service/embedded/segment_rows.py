"""What the database knows of the segment store."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from storage_service.embedded.object_rows import mark_stored, to_keys
from storage_service.errors import story_not_found
from storage_service.records import Added, Blob, Digest, Evicted, FoundSegment, ObjectKey, ObjectKind
from tale.storage.v1 import segment_pb2

_TOUCHED_AGAIN: Final = 60 * 1_000_000
"""Microseconds after which another use is written down: an order of eviction needs no more."""

_MOST_EVICTED: Final = 1_000

_USE: Final = """
INSERT OR IGNORE INTO segment_uses (story_id, key)
SELECT id, ?2 FROM stories WHERE id = ?1 AND EXISTS (SELECT 1 FROM segments WHERE key = ?2)
"""

_NEWS: Final = """
SELECT segment, last_used < ?3 OR (
    ?2 <> '' AND NOT EXISTS (SELECT 1 FROM segment_uses WHERE story_id = ?2 AND key = ?1)
) AS to_note
FROM segments WHERE key = ?1
"""

_EVICTABLE: Final = """
SELECT key, size FROM segments WHERE NOT EXISTS (
    SELECT 1 FROM segment_uses JOIN stories ON stories.id = segment_uses.story_id
    WHERE segment_uses.key = segments.key AND stories.state IN (1, 2, 3)
) ORDER BY last_used LIMIT ?
"""


def look_up(
    connection: sqlite3.Connection, lookups: Collection[segment_pb2.SegmentLookup], now: int
) -> tuple[dict[str, bytes], list[segment_pb2.SegmentLookup]]:
    """The serialized segments that are stored, by key, and the lookups whose use is still to be noted."""
    found: dict[str, bytes] = {}
    to_note: list[segment_pb2.SegmentLookup] = []
    for lookup in lookups:
        row = connection.execute(_NEWS, (lookup.key, lookup.story_id, now - _TOUCHED_AGAIN)).fetchone()
        if row is not None:
            found[lookup.key] = row["segment"]
            if row["to_note"]:
                to_note.append(lookup)
    return found, to_note


def note_uses(connection: sqlite3.Connection, lookups: Collection[segment_pb2.SegmentLookup], now: int) -> set[str]:
    """Notes uses; the keys of those that are not stored any more."""
    gone: set[str] = set()
    for lookup in lookups:
        touched = connection.execute("UPDATE segments SET last_used = ? WHERE key = ?", (now, lookup.key))
        if not touched.rowcount:
            gone.add(lookup.key)
        elif lookup.story_id:
            note_use(connection, lookup.story_id, lookup.key)
    return gone


def note_use(connection: sqlite3.Connection, story_id: str, key: str) -> None:
    """Notes that a story uses a segment, where both are there."""
    connection.execute(_USE, (story_id, key))


def add_segment(
    connection: sqlite3.Connection, segment: segment_pb2.StoredSegment, key: ObjectKey, story_id: str, now: int
) -> Added:
    """Adds a segment unless there is one of its key; STORY_NOT_FOUND."""
    if story_id and not connection.execute("SELECT 1 FROM stories WHERE id = ?", (story_id,)).fetchone():
        raise story_not_found(story_id)
    known = connection.execute("SELECT segment FROM segments WHERE key = ?", (segment.key,)).fetchone()
    if known is None:
        mark_stored(connection, key)
        connection.execute(
            "INSERT INTO segments (key, object_id, size, sha256, segment, last_used) VALUES (?, ?, ?, ?, ?, ?)",
            (segment.key, key.object_id, segment.size_bytes, segment.sha256, segment.SerializeToString(), now),
        )
    else:
        connection.execute("UPDATE objects SET state = 'DELETED' WHERE object_id = ?", (key.object_id,))
        segment = segment_pb2.StoredSegment.FromString(known["segment"])
    if story_id:
        note_use(connection, story_id, segment.key)
    return Added(segment, known is None, _stored_bytes(connection))


def find_segment(connection: sqlite3.Connection, segment_key: str) -> FoundSegment | None:
    """A segment and where its bytes are."""
    row = connection.execute("SELECT * FROM segments WHERE key = ?", (segment_key,)).fetchone()
    if row is None:
        return None
    return FoundSegment(segment_pb2.StoredSegment.FromString(row["segment"]), to_blob(row))


def find_digest(connection: sqlite3.Connection, segment_key: str) -> Digest | None:
    """Size and SHA-256 of a segment."""
    row = connection.execute("SELECT size, sha256 FROM segments WHERE key = ?", (segment_key,)).fetchone()
    return None if row is None else Digest(row["size"], row["sha256"])


def drop_segment(connection: sqlite3.Connection, segment_key: str, key: ObjectKey) -> bool:
    """Removes a segment whose bytes are this object; False where they are another."""
    dropped = connection.execute("DELETE FROM segments WHERE key = ? AND object_id = ?", (segment_key, key.object_id))
    return dropped.rowcount > 0


def evict_segments(connection: sqlite3.Connection, down_to: int) -> Evicted:
    """Removes the least recently used segments that no unfinished story uses."""
    excess = _stored_bytes(connection) - down_to
    chosen: list[str] = []
    if excess > 0:
        for row in connection.execute(_EVICTABLE, (_MOST_EVICTED,)):
            chosen.append(row["key"])
            excess -= row["size"]
            if excess <= 0:
                break
    return Evicted(_remove(connection, chosen), _stored_bytes(connection))


def segments_of(connection: sqlite3.Connection, story_id: str) -> list[str]:
    """Keys of the segments that a story uses."""
    return [row["key"] for row in connection.execute("SELECT key FROM segment_uses WHERE story_id = ?", (story_id,))]


def remove_unused(connection: sqlite3.Connection, keys: Iterable[str]) -> Sequence[ObjectKey]:
    """Removes those of some segments that no story uses."""
    used = "SELECT 1 FROM segment_uses WHERE key = ?"
    return _remove(connection, [key for key in keys if not connection.execute(used, (key,)).fetchone()])


def to_blob(row: sqlite3.Row) -> Blob:
    """The bytes of a segment, from a row with `object_id`, `size` and `sha256`."""
    return Blob(ObjectKey(ObjectKind.SEGMENT, row["object_id"]), row["size"], row["sha256"])


def _remove(connection: sqlite3.Connection, keys: Collection[str]) -> Sequence[ObjectKey]:
    dropped: list[ObjectKey] = []
    for key in keys:
        removed = connection.execute(
            "DELETE FROM segments WHERE key = ? RETURNING object_id, 'segment' AS kind", (key,)
        ).fetchall()
        dropped += to_keys(removed)
    return dropped


def _stored_bytes(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT segment_bytes FROM housekeeping").fetchone()
    return int(count)
