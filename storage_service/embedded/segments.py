"""The SegmentStore in SQLite."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from storage_service.embedded.database import SqliteStore, Transaction, reading, writing
from storage_service.embedded.objects import mark_stored, to_keys
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


def _look_up(
    tx: Transaction, lookups: Collection[segment_pb2.SegmentLookup]
) -> tuple[dict[str, bytes], list[segment_pb2.SegmentLookup]]:
    """The serialized segments that are stored, by key, and the lookups whose use is still to be noted."""
    found: dict[str, bytes] = {}
    to_note: list[segment_pb2.SegmentLookup] = []
    for lookup in lookups:
        row = tx.execute(_NEWS, (lookup.key, lookup.story_id, tx.now - _TOUCHED_AGAIN)).fetchone()
        if row is not None:
            found[lookup.key] = row["segment"]
            if row["to_note"]:
                to_note.append(lookup)
    return found, to_note


def _note_uses(tx: Transaction, lookups: Collection[segment_pb2.SegmentLookup]) -> set[str]:
    """Notes uses; the keys of those that are not stored any more."""
    gone: set[str] = set()
    for lookup in lookups:
        touched = tx.execute("UPDATE segments SET last_used = ? WHERE key = ?", (tx.now, lookup.key))
        if not touched.rowcount:
            gone.add(lookup.key)
        elif lookup.story_id:
            note_use(tx, lookup.story_id, lookup.key)
    return gone


def note_use(tx: Transaction, story_id: str, key: str) -> None:
    """Notes that a story uses a segment, where both are there."""
    tx.execute(_USE, (story_id, key))


def _add(tx: Transaction, segment: segment_pb2.StoredSegment, key: ObjectKey, story_id: str) -> Added:
    if story_id and not tx.execute("SELECT 1 FROM stories WHERE id = ?", (story_id,)).fetchone():
        raise story_not_found(story_id)
    known = tx.execute("SELECT segment FROM segments WHERE key = ?", (segment.key,)).fetchone()
    if known is None:
        mark_stored(tx, key)
        tx.execute(
            "INSERT INTO segments (key, object_id, size, sha256, segment, last_used) VALUES (?, ?, ?, ?, ?, ?)",
            (segment.key, key.object_id, segment.size_bytes, segment.sha256, segment.SerializeToString(), tx.now),
        )
    else:
        tx.execute("UPDATE objects SET state = 'DELETED' WHERE object_id = ?", (key.object_id,))
        segment = segment_pb2.StoredSegment.FromString(known["segment"])
    if story_id:
        note_use(tx, story_id, segment.key)
    return Added(segment, known is None, _stored_bytes(tx))


def _get(tx: Transaction, segment_key: str) -> FoundSegment | None:
    row = tx.execute("SELECT * FROM segments WHERE key = ?", (segment_key,)).fetchone()
    if row is None:
        return None
    return FoundSegment(segment_pb2.StoredSegment.FromString(row["segment"]), to_blob(row))


def find_digest(tx: Transaction, segment_key: str) -> Digest | None:
    """Size and SHA-256 of a segment."""
    row = tx.execute("SELECT size, sha256 FROM segments WHERE key = ?", (segment_key,)).fetchone()
    return None if row is None else Digest(row["size"], row["sha256"])


def _drop(tx: Transaction, segment_key: str, key: ObjectKey) -> bool:
    dropped = tx.execute("DELETE FROM segments WHERE key = ? AND object_id = ?", (segment_key, key.object_id))
    return dropped.rowcount > 0


def _evict(tx: Transaction, down_to: int) -> Evicted:
    excess = _stored_bytes(tx) - down_to
    chosen: list[str] = []
    if excess > 0:
        for row in tx.execute(_EVICTABLE, (_MOST_EVICTED,)):
            chosen.append(row["key"])
            excess -= row["size"]
            if excess <= 0:
                break
    return Evicted(_remove(tx, chosen), _stored_bytes(tx))


def remove_unused(tx: Transaction, keys: Iterable[str]) -> Sequence[ObjectKey]:
    """Removes those of some segments that no story uses."""
    used = "SELECT 1 FROM segment_uses WHERE key = ?"
    return _remove(tx, [key for key in keys if not tx.execute(used, (key,)).fetchone()])


def to_blob(row: sqlite3.Row) -> Blob:
    """The bytes of a segment, from a row with `object_id`, `size` and `sha256`."""
    return Blob(ObjectKey(ObjectKind.SEGMENT, row["object_id"]), row["size"], row["sha256"])


def _remove(tx: Transaction, keys: Collection[str]) -> Sequence[ObjectKey]:
    dropped: list[ObjectKey] = []
    for key in keys:
        removed = tx.execute(
            "DELETE FROM segments WHERE key = ? RETURNING object_id, 'segment' AS kind", (key,)
        ).fetchall()
        dropped += to_keys(removed)
    return dropped


def _stored_bytes(tx: Transaction) -> int:
    (count,) = tx.execute("SELECT segment_bytes FROM housekeeping").fetchone()
    return int(count)


class SqliteSegmentStore(SqliteStore):
    """Stores what is known of segments in a database of SQLite; see SegmentStore for the methods."""

    add = writing(_add)
    get = reading(_get)
    drop = writing(_drop)
    evict = writing(_evict)

    _look_up = reading(_look_up)
    _note_uses = writing(_note_uses)

    async def find(self, lookups: Sequence[segment_pb2.SegmentLookup]) -> Sequence[segment_pb2.StoredSegment]:
        """Stored segments; writes nothing where no use is to be noted."""
        found, to_note = await self._look_up(lookups)
        gone = await self._note_uses(to_note) if to_note else frozenset[str]()
        return [segment_pb2.StoredSegment.FromString(segment) for key, segment in found.items() if key not in gone]
