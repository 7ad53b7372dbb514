"""Objects, the segment store, and the audio of stories, as rows."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from servicekit.errors import wrong_state
from servicekit.ids import new_id
from storage_service.embedded.database import SqliteStore, Transaction, reading, removing, writing
from storage_service.embedded.rows import load_facts
from storage_service.errors import lease_lost, storage_conflict, story_not_found
from storage_service.messages import narrated_audio
from storage_service.records import (
    AddResult,
    AttachResult,
    Blob,
    Digest,
    EvictResult,
    Manifest,
    ObjectKey,
    ObjectKind,
    Part,
    SegmentBlob,
    StoredAudio,
    UnfinishedAudio,
)
from storage_service.stories.checkpoints import CheckpointRefused, RunFacts, check_token
from tale.common.v1 import common_pb2
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
    """Returns the serialized segments that are stored, by key, and the lookups whose use is still to be noted."""
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
    """Notes that a story uses a segment, where both exist."""
    tx.execute(_USE, (story_id, key))


def _add(tx: Transaction, segment: segment_pb2.StoredSegment, key: ObjectKey, story_id: str) -> AddResult:
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
    return AddResult(segment, known is None, _stored_bytes(tx))


def _get(tx: Transaction, segment_key: str) -> SegmentBlob | None:
    row = tx.execute("SELECT * FROM segments WHERE key = ?", (segment_key,)).fetchone()
    if row is None:
        return None
    return SegmentBlob(segment_pb2.StoredSegment.FromString(row["segment"]), to_blob(row))


def find_digest(tx: Transaction, segment_key: str) -> Digest | None:
    """Returns size and SHA-256 of a segment."""
    row = tx.execute("SELECT size, sha256 FROM segments WHERE key = ?", (segment_key,)).fetchone()
    return None if row is None else Digest(row["size"], row["sha256"])


def _drop(tx: Transaction, segment_key: str, key: ObjectKey) -> bool:
    dropped = tx.execute("DELETE FROM segments WHERE key = ? AND object_id = ?", (segment_key, key.object_id))
    return dropped.rowcount > 0


def _evict(tx: Transaction, down_to: int) -> EvictResult:
    excess = _stored_bytes(tx) - down_to
    chosen: list[str] = []
    if excess > 0:
        for row in tx.execute(_EVICTABLE, (_MOST_EVICTED,)):
            chosen.append(row["key"])
            excess -= row["size"]
            if excess <= 0:
                break
    return EvictResult(_remove(tx, chosen), _stored_bytes(tx))


def remove_unused(tx: Transaction, keys: Iterable[str]) -> Sequence[ObjectKey]:
    """Removes those of some segments that no story uses."""
    used = "SELECT 1 FROM segment_uses WHERE key = ?"
    return _remove(tx, [key for key in keys if not tx.execute(used, (key,)).fetchone()])


def to_blob(row: sqlite3.Row) -> Blob:
    """Returns the bytes of a segment, from a row with `object_id`, `size` and `sha256`."""
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
        """Returns stored segments; writes nothing where no use is to be noted."""
        found, to_note = await self._look_up(lookups)
        gone = await self._note_uses(to_note) if to_note else frozenset[str]()
        return [segment_pb2.StoredSegment.FromString(segment) for key, segment in found.items() if key not in gone]


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
    """Returns the keys of rows with `object_id` and `kind`."""
    return [ObjectKey(ObjectKind(row["kind"]), row["object_id"]) for row in rows]


class SqliteObjectNotes(SqliteStore):
    """Notes objects in a database of SQLite; see ObjectNotes for the methods."""

    note = writing(_note)
    mark_deleted = removing(_mark_deleted)
    take_deleted = removing(_take_deleted)
    remove_notes = removing(_remove_notes)


# A lost segment that was stored again may have other bytes under the same key.
_PARTS: Final = """
SELECT m.key, m.size AS part_size, m.segment, s.object_id, s.size, s.sha256
FROM story_segments m LEFT JOIN segments s ON s.key = m.key AND s.sha256 = m.sha256
WHERE m.story_id = ? AND m.audio_id = ? ORDER BY m.position
"""


def load_manifest(tx: Transaction, story_id: str, lease_token: int, audio_id: str) -> Manifest | StoredAudio:
    """Returns the narration that a run has made, or the audio that it was composed into."""
    facts, row, stored = _held(tx, story_id, lease_token, audio_id)
    if stored is not None:
        return stored
    if facts.narration_audio_id != audio_id:
        raise wrong_state("The story has no narration of this audio id.", audio_id=audio_id)
    rows = tx.execute(_PARTS, (story_id, audio_id)).fetchall()
    return Manifest(
        header=common_pb2.NarrationHeader.FromString(row["narration"]),
        segments=[common_pb2.Segment.FromString(one["segment"]) for one in rows],
        parts=[_to_part(one) for one in rows],
        content_length=facts.content_length,
        content_complete=facts.content_complete,
    )


def attach_audio(
    tx: Transaction, story_id: str, lease_token: int, audio: common_pb2.StoryAudio, key: ObjectKey
) -> AttachResult:
    """Makes `audio` the audio of a story and lets go of what was there before."""
    facts, _, stored = _held(tx, story_id, lease_token, audio.audio_id)
    if stored is not None:
        tx.execute("UPDATE objects SET state = 'DELETED' WHERE object_id = ?", (key.object_id,))
        return AttachResult(stored.audio, [key])
    before = load_audio(tx, story_id)
    store_audio(tx, story_id, audio, key, facts.segment_count if facts.narration_audio_id == audio.audio_id else 0)
    tx.execute(
        "DELETE FROM story_segments WHERE story_id = ? AND audio_id NOT IN (?, ?)",
        (story_id, audio.audio_id, facts.narration_audio_id),
    )
    tx.execute("UPDATE stories SET update_time = ? WHERE id = ?", (tx.now, story_id))
    return AttachResult(audio, [] if before is None else [before.blob.key])


def store_audio(
    tx: Transaction, story_id: str, audio: common_pb2.StoryAudio, key: ObjectKey, segment_count: int
) -> None:
    """Stores audio, in place of what was there; its object becomes STORED."""
    mark_stored(tx, key)
    tx.execute(
        "INSERT INTO story_audio (story_id, audio_id, object_id, sha256, duration, segment_count, audio)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (story_id) DO UPDATE SET audio_id = excluded.audio_id,"
        " object_id = excluded.object_id, sha256 = excluded.sha256, duration = excluded.duration,"
        " segment_count = excluded.segment_count, audio = excluded.audio",
        (
            story_id,
            audio.audio_id,
            key.object_id,
            audio.sha256,
            audio.duration.ToMicroseconds(),
            segment_count,
            audio.SerializeToString(),
        ),
    )


def find_audio(tx: Transaction, owner: str, story_id: str, audio_id: str) -> StoredAudio | UnfinishedAudio | None:
    """Returns the audio of a story, finished or in progress; STORY_NOT_FOUND."""
    row = tx.execute(
        "SELECT narration_audio_id, narration FROM stories WHERE id = ? AND owner = ?",
        (story_id, owner),
    ).fetchone()
    if row is None:
        raise story_not_found(story_id)
    stored = load_audio(tx, story_id)
    if stored is not None and audio_id in {"", stored.audio.audio_id}:
        return stored
    if not row["narration_audio_id"] or audio_id not in {"", row["narration_audio_id"]}:
        return None
    header = common_pb2.NarrationHeader.FromString(row["narration"])
    parts = tx.execute(_PARTS, (story_id, header.audio_id)).fetchall()
    last = common_pb2.Segment.FromString(parts[-1]["segment"] if parts else b"")
    return UnfinishedAudio(narrated_audio(header, last, size=last.audio.end), [_to_part(one) for one in parts])


def _held(
    tx: Transaction, story_id: str, lease_token: int, audio_id: str
) -> tuple[RunFacts, sqlite3.Row, StoredAudio | None]:
    """Returns a story that a run holds with this token, and its audio if that already has the given id.

    Raises STORY_NOT_FOUND, LEASE_LOST and, unless the audio is there, WRONG_STATE.
    """
    found = load_facts(tx, story_id)
    if found is None:
        raise story_not_found(story_id)
    facts, row = found
    stored = load_audio(tx, story_id) if facts.stored_audio_id == audio_id else None
    if stored is not None and facts.lease_token == lease_token:
        return facts, row, stored
    try:
        check_token(facts, lease_token)
    except CheckpointRefused as refused:
        if refused.reason == "LEASE_LOST":
            raise lease_lost(story_id) from refused
        raise wrong_state(refused.message) from refused
    return facts, row, None


def _to_part(row: sqlite3.Row) -> Part:
    return Part(row["key"], row["part_size"], None if row["object_id"] is None else to_blob(row))


def load_audio(tx: Transaction, story_id: str) -> StoredAudio | None:
    """Returns the finished audio of a story."""
    row = tx.execute("SELECT object_id, sha256, audio FROM story_audio WHERE story_id = ?", (story_id,)).fetchone()
    if row is None:
        return None
    audio = common_pb2.StoryAudio.FromString(row["audio"])
    return StoredAudio(audio, Blob(ObjectKey(ObjectKind.AUDIO, row["object_id"]), audio.size_bytes, row["sha256"]))
