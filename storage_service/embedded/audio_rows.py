"""What the database knows of the audio of stories."""

import sqlite3
from typing import Final

from servicekit.errors import wrong_state
from storage_service.embedded.database import Transaction
from storage_service.embedded.objects import mark_stored
from storage_service.embedded.rows import load_facts
from storage_service.embedded.segments import to_blob
from storage_service.errors import lease_lost, story_not_found
from storage_service.messages import narrated_audio
from storage_service.records import (
    Attached,
    Blob,
    Manifest,
    ObjectKey,
    ObjectKind,
    Part,
    StoredAudio,
    UnfinishedAudio,
)
from storage_service.stories.checkpoints import CheckpointRefused, RunFacts, check_token
from tale.common.v1 import common_pb2

# A lost segment that was stored anew may have other bytes under the same key.
_PARTS: Final = """
SELECT m.key, m.size AS part_size, m.segment, s.object_id, s.size, s.sha256
FROM story_segments m LEFT JOIN segments s ON s.key = m.key AND s.sha256 = m.sha256
WHERE m.story_id = ? AND m.audio_id = ? ORDER BY m.position
"""


def load_manifest(tx: Transaction, story_id: str, lease_token: int, audio_id: str) -> Manifest | StoredAudio:
    """The narration that a run has made, or the audio that it was composed into."""
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
) -> Attached:
    """Makes `audio` the audio of a story and lets go of what was there before."""
    facts, _, stored = _held(tx, story_id, lease_token, audio.audio_id)
    if stored is not None:
        tx.execute("UPDATE objects SET state = 'DELETED' WHERE object_id = ?", (key.object_id,))
        return Attached(stored.audio, [key])
    before = load_audio(tx, story_id)
    store_audio(tx, story_id, audio, key, facts.segment_count if facts.narration_audio_id == audio.audio_id else 0)
    tx.execute(
        "DELETE FROM story_segments WHERE story_id = ? AND audio_id NOT IN (?, ?)",
        (story_id, audio.audio_id, facts.narration_audio_id),
    )
    tx.execute("UPDATE stories SET update_time = ? WHERE id = ?", (tx.now, story_id))
    return Attached(audio, [] if before is None else [before.blob.key])


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
    """The audio of a story, finished or in the making; STORY_NOT_FOUND."""
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
    """A story that a run holds with this token, and its audio where that has the id given already.

    Raises STORY_NOT_FOUND, LEASE_LOST and, unless the audio is there, WRONG_STATE.
    """
    found = load_facts(tx, story_id)
    if found is None:
        raise story_not_found(story_id)
    facts, row = found
    stored = load_audio(tx, story_id) if facts.kept_audio_id == audio_id else None
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
    """The finished audio of a story."""
    row = tx.execute("SELECT object_id, sha256, audio FROM story_audio WHERE story_id = ?", (story_id,)).fetchone()
    if row is None:
        return None
    audio = common_pb2.StoryAudio.FromString(row["audio"])
    return StoredAudio(audio, Blob(ObjectKey(ObjectKind.AUDIO, row["object_id"]), audio.size_bytes, row["sha256"]))
