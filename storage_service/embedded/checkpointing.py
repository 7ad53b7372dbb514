"""Keeps what runs have made."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from storage_service import states
from storage_service.checkpoints import Advance, CheckpointRefused, RunFacts, judge
from storage_service.embedded.creating import keep_problems
from storage_service.embedded.indexing import enter, is_found, leave
from storage_service.embedded.rows import load_facts, split_parts, timestamp
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_ADVANCE: Final = """
UPDATE stories SET
    state = :state, title = :title, content_length = :content_length, content_complete = :content_complete,
    embedded_parts = :embedded_parts, narration_audio_id = :narration_audio_id,
    narration = coalesce(:narration, narration), segment_count = :segment_count, update_time = :now,
    pickup_count = CASE WHEN :progress THEN 0 ELSE pickup_count END,
    end_time = CASE WHEN :ended THEN :now ELSE end_time END,
    runner = CASE WHEN :ended THEN '' ELSE runner END,
    lease_expire_time = :lease_expire_time
WHERE id = :id
"""


class _Pieces:
    """The kept pieces of one story."""

    def __init__(self, connection: sqlite3.Connection, story_id: str, audio_id: str) -> None:
        self._connection = connection
        self._story_id = story_id
        self._audio_id = audio_id

    def text(self, start: int, end: int) -> str:
        """Code points [start, end) of the content."""
        rows = self._connection.execute(
            "SELECT start, text FROM story_texts WHERE story_id = ?1 AND start < ?3 AND start >="
            " (SELECT max(start) FROM story_texts WHERE story_id = ?1 AND start <= ?2) ORDER BY start",
            (self._story_id, start, end),
        ).fetchall()
        first = rows[0]["start"]
        return "".join(row["text"] for row in rows)[start - first : end - first]

    def segment_sha256(self, index: int) -> bytes | None:
        """Hash of a segment of the run's book."""
        row = self._connection.execute(
            "SELECT sha256 FROM story_segments WHERE story_id = ? AND audio_id = ? AND position = ?",
            (self._story_id, self._audio_id, index),
        ).fetchone()
        return row["sha256"] if row else None


def checkpoint_stories(
    connection: sqlite3.Connection, duration: int, checkpoints: Sequence[storage_pb2.StoryCheckpoint], now: int
) -> Sequence[storage_pb2.CheckpointResult]:
    """Judges each checkpoint by itself and keeps what is new in those that hold."""
    return [_keep_one(connection, duration, checkpoint, now) for checkpoint in checkpoints]


def _keep_one(
    connection: sqlite3.Connection, duration: int, checkpoint: storage_pb2.StoryCheckpoint, now: int
) -> storage_pb2.CheckpointResult:
    result = storage_pb2.CheckpointResult(story_id=checkpoint.story_id)
    found = load_facts(connection, checkpoint.story_id)
    if found is None:
        _refuse(result, CheckpointRefused("STORY_NOT_FOUND", "There is no story of that id.", "Stop the run."), now)
        return result
    facts, row = found
    try:
        advance = judge(facts, checkpoint, _Pieces(connection, checkpoint.story_id, facts.narration_audio_id))
    except CheckpointRefused as refused:
        _refuse(result, refused, now)
        return result
    if checkpoint.attempts or checkpoint.problems:
        _keep_ledger(connection, checkpoint)
    if states.is_final(facts.state):
        return result
    _keep_pieces(connection, checkpoint, facts, advance)
    expire_time = None if states.is_final(advance.state) else now + duration
    if advance.progress or _adds_to_the_record(checkpoint):
        _advance(connection, checkpoint, facts, advance, row["embedded_parts"], expire_time, now)
    else:
        connection.execute("UPDATE stories SET lease_expire_time = ? WHERE id = ?", (expire_time, checkpoint.story_id))
    if expire_time is not None:
        result.lease_expire_time.CopyFrom(timestamp(expire_time))
    return result


def _refuse(result: storage_pb2.CheckpointResult, refused: CheckpointRefused, now: int) -> None:
    result.error.CopyFrom(
        common_pb2.Problem(reason=refused.reason, message=refused.message, mend=refused.mend, time=timestamp(now))
    )


def _adds_to_the_record(checkpoint: storage_pb2.StoryCheckpoint) -> bool:
    return bool(
        checkpoint.attempts or checkpoint.problems or checkpoint.embedded_parts or checkpoint.HasField("generation")
    )


def _keep_ledger(connection: sqlite3.Connection, checkpoint: storage_pb2.StoryCheckpoint) -> None:
    story_id = checkpoint.story_id
    connection.executemany(
        "INSERT INTO story_attempts (story_id, attempt_id, attempt) VALUES (?, ?, ?)"
        " ON CONFLICT (story_id, attempt_id) DO UPDATE SET attempt = excluded.attempt",
        [(story_id, attempt.attempt_id, attempt.SerializeToString()) for attempt in checkpoint.attempts],
    )
    keep_problems(connection, story_id, list(checkpoint.problems))


def _keep_pieces(
    connection: sqlite3.Connection, checkpoint: storage_pb2.StoryCheckpoint, facts: RunFacts, advance: Advance
) -> None:
    story_id = checkpoint.story_id
    if advance.text:
        connection.execute(
            "INSERT INTO story_texts (story_id, start, text) VALUES (?, ?, ?)",
            (story_id, facts.content_length, advance.text),
        )
    if advance.narration is not None:
        # The book before it is closed, unless the kept audio came from it.
        connection.execute(
            "DELETE FROM story_segments WHERE story_id = ? AND audio_id <> ?", (story_id, facts.kept_audio_id)
        )
    if advance.segments:
        _keep_segments(connection, story_id, _audio_id(facts, advance.narration), advance.segments)
    if checkpoint.HasField("generation"):
        connection.execute(
            "INSERT OR REPLACE INTO story_generations (story_id, generation) VALUES (?, ?)",
            (story_id, checkpoint.generation.SerializeToString()),
        )


def _keep_segments(
    connection: sqlite3.Connection, story_id: str, audio_id: str, segments: Sequence[common_pb2.Segment]
) -> None:
    connection.executemany(
        "INSERT INTO story_segments (story_id, audio_id, position, sha256, segment) VALUES (?, ?, ?, ?, ?)",
        [(story_id, audio_id, segment.index, segment.sha256, segment.SerializeToString()) for segment in segments],
    )


def _advance(
    connection: sqlite3.Connection,
    checkpoint: storage_pb2.StoryCheckpoint,
    facts: RunFacts,
    advance: Advance,
    parts: str,
    expire_time: int | None,
    now: int,
) -> None:
    narration = advance.narration
    was = is_found(facts.state, content_complete=facts.content_complete)
    will_be = is_found(advance.state, content_complete=advance.content_complete)
    renamed = advance.title not in {"", facts.title}
    if was and (renamed or not will_be):
        leave(connection, checkpoint.story_id)
    connection.execute(
        _ADVANCE,
        {
            "id": checkpoint.story_id,
            "now": now,
            "state": advance.state,
            "title": advance.title or facts.title,
            "content_length": facts.content_length + len(advance.text),
            "content_complete": advance.content_complete,
            "embedded_parts": ",".join(dict.fromkeys([*split_parts(parts), *checkpoint.embedded_parts])),
            "narration_audio_id": _audio_id(facts, narration),
            "narration": None if narration is None else narration.SerializeToString(),
            "segment_count": (facts.segment_count if narration is None else 0) + len(advance.segments),
            "progress": advance.progress,
            "ended": expire_time is None,
            "lease_expire_time": expire_time,
        },
    )
    if will_be and (renamed or not was):
        enter(connection, checkpoint.story_id)


def _audio_id(facts: RunFacts, narration: common_pb2.NarrationHeader | None) -> str:
    return facts.narration_audio_id if narration is None else narration.audio_id
