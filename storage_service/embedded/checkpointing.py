"""Stores what runs have made, and the ledger of their attempts."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.reasons import explained
from storage_service.embedded.database import Transaction
from storage_service.embedded.rows import load_facts, load_text, split_parts, timestamp
from storage_service.embedded.searching import enter, is_found, leave
from storage_service.embedded.segments import find_digest, note_use
from storage_service.records import Digest
from storage_service.stories import states
from storage_service.stories.checkpoints import Advance, CheckpointRefused, RunFacts, judge
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_ADVANCE: Final = """
UPDATE stories SET
    state = :state, title = :title, content_length = :content_length, content_complete = :content_complete,
    embedded_parts = :embedded_parts, narration_audio_id = :narration_audio_id,
    narration = coalesce(:narration, narration), segment_count = :segment_count, text_end = :text_end,
    audio_end = :audio_end, update_time = :now,
    pickup_count = CASE WHEN :progress THEN 0 ELSE pickup_count END,
    end_time = CASE WHEN :ended THEN :now ELSE end_time END,
    lease_expire_time = :lease_expire_time
WHERE id = :id
"""


class _Pieces:
    """The stored pieces of one story."""

    def __init__(self, tx: Transaction, story_id: str, audio_id: str) -> None:
        self._tx = tx
        self._story_id = story_id
        self._audio_id = audio_id

    def text(self, start: int, end: int) -> str:
        """Code points [start, end) of the content."""
        return load_text(self._tx, self._story_id, start, end)

    def manifest_segment(self, index: int) -> tuple[str, bytes] | None:
        """Key and SHA-256 of a segment of the run's manifest."""
        row = self._tx.execute(
            "SELECT key, sha256 FROM story_segments WHERE story_id = ? AND audio_id = ? AND position = ?",
            (self._story_id, self._audio_id, index),
        ).fetchone()
        return (row["key"], row["sha256"]) if row else None

    def stored_segment(self, key: str) -> Digest | None:
        """Size and SHA-256 of a segment in the segment store."""
        return find_digest(self._tx, key)


def checkpoint_stories(
    tx: Transaction, lease_duration: int, checkpoints: Sequence[storage_pb2.StoryCheckpoint]
) -> Sequence[storage_pb2.CheckpointResult]:
    """Judges each checkpoint by itself and stores what is new in those that hold."""
    return [_keep_one(tx, lease_duration, checkpoint) for checkpoint in checkpoints]


def _keep_one(tx: Transaction, duration: int, checkpoint: storage_pb2.StoryCheckpoint) -> storage_pb2.CheckpointResult:
    result = storage_pb2.CheckpointResult(story_id=checkpoint.story_id)
    found = load_facts(tx, checkpoint.story_id)
    if found is None:
        _refuse(tx, result, CheckpointRefused("STORY_NOT_FOUND", "There is no story of that id."))
        return result
    facts, row = found
    try:
        advance = judge(facts, checkpoint, _Pieces(tx, checkpoint.story_id, facts.narration_audio_id))
    except CheckpointRefused as refused:
        _refuse(tx, result, refused)
        return result
    final = states.is_final(facts.state)
    if checkpoint.attempts:
        store_attempts(tx, checkpoint.story_id, checkpoint.attempts, ended=tx.now if final else None)
    if checkpoint.problems:
        store_problems(tx, checkpoint.story_id, checkpoint.problems)
    if checkpoint.HasField("generation"):
        tx.execute(
            "INSERT OR REPLACE INTO story_generations (story_id, generation) VALUES (?, ?)",
            (checkpoint.story_id, checkpoint.generation.SerializeToString()),
        )
    if final:
        return result
    _store_pieces(tx, checkpoint.story_id, facts, advance)
    expire_time = None if states.is_final(advance.state) else tx.now + duration
    if advance.progress or _adds_to_the_record(checkpoint):
        _advance(tx, checkpoint, facts, advance, row, expire_time)
    else:
        tx.execute("UPDATE stories SET lease_expire_time = ? WHERE id = ?", (expire_time, checkpoint.story_id))
    if expire_time is not None:
        result.lease_expire_time.CopyFrom(timestamp(expire_time))
    return result


def _refuse(tx: Transaction, result: storage_pb2.CheckpointResult, refused: CheckpointRefused) -> None:
    problem = common_pb2.Problem(reason=refused.reason, message=refused.message, time=timestamp(tx.now))
    result.error.CopyFrom(explained(problem))


def _adds_to_the_record(checkpoint: storage_pb2.StoryCheckpoint) -> bool:
    return bool(
        checkpoint.attempts or checkpoint.problems or checkpoint.embedded_parts or checkpoint.HasField("generation")
    )


def _store_pieces(tx: Transaction, story_id: str, facts: RunFacts, advance: Advance) -> None:
    if advance.text:
        tx.execute(
            "INSERT INTO story_texts (story_id, start, text) VALUES (?, ?, ?)",
            (story_id, facts.content_length, advance.text),
        )
    if advance.narration is not None:
        # The manifest before it goes, unless the stored audio came from it.
        tx.execute("DELETE FROM story_segments WHERE story_id = ? AND audio_id <> ?", (story_id, facts.kept_audio_id))
    if advance.segments:
        store_manifest(tx, story_id, _audio_id(facts, advance.narration), advance.segments)
        for segment in advance.segments:
            note_use(tx, story_id, segment.key)


def store_manifest(tx: Transaction, story_id: str, audio_id: str, segments: Iterable[common_pb2.Segment]) -> None:
    """Adds segments to a manifest."""
    tx.executemany(
        "INSERT INTO story_segments (story_id, audio_id, position, key, size, sha256, segment)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                story_id,
                audio_id,
                segment.index,
                segment.key,
                segment.audio.end - segment.audio.start,
                segment.sha256,
                segment.SerializeToString(),
            )
            for segment in segments
        ],
    )


def _advance(
    tx: Transaction,
    checkpoint: storage_pb2.StoryCheckpoint,
    facts: RunFacts,
    advance: Advance,
    row: sqlite3.Row,
    expire_time: int | None,
) -> None:
    narration, last = advance.narration, advance.segments[-1] if advance.segments else None
    before = (facts.text_end, facts.audio_end) if narration is None else (0, 0)
    was = is_found(facts.state, content_complete=facts.content_complete)
    will_be = is_found(advance.state, content_complete=advance.content_complete)
    renamed = advance.title not in {"", facts.title}
    if was and (renamed or not will_be):
        leave(tx, checkpoint.story_id)
    tx.execute(
        _ADVANCE,
        {
            "id": checkpoint.story_id,
            "now": tx.now,
            "state": advance.state,
            "title": advance.title or facts.title,
            "content_length": facts.content_length + len(advance.text),
            "content_complete": advance.content_complete,
            "embedded_parts": ",".join(
                dict.fromkeys([*split_parts(row["embedded_parts"]), *checkpoint.embedded_parts])
            ),
            "narration_audio_id": _audio_id(facts, narration),
            "narration": None if narration is None else narration.SerializeToString(),
            "segment_count": (facts.segment_count if narration is None else 0) + len(advance.segments),
            "text_end": before[0] if last is None else last.text.end,
            "audio_end": before[1] if last is None else last.audio.end,
            "progress": advance.progress,
            "ended": expire_time is None,
            "lease_expire_time": expire_time,
        },
    )
    if will_be and (renamed or not was):
        enter(tx, checkpoint.story_id)


def _audio_id(facts: RunFacts, narration: common_pb2.NarrationHeader | None) -> str:
    return facts.narration_audio_id if narration is None else narration.audio_id


def store_attempts(
    tx: Transaction, story_id: str, attempts: Iterable[common_pb2.Attempt], *, ended: int | None
) -> None:
    """Adds attempts, each in place of an earlier line of its id.

    Where the story `ended`, one that is still STARTED is stored as cancelled then.
    """
    end_time = None if ended is None else timestamp(ended)
    tx.executemany(
        "INSERT INTO story_attempts (story_id, attempt_id, attempt) VALUES (?, ?, ?)"
        " ON CONFLICT (story_id, attempt_id) DO UPDATE SET attempt = excluded.attempt",
        [(story_id, attempt.attempt_id, _ended(attempt, end_time).SerializeToString()) for attempt in attempts],
    )


def end_attempts(tx: Transaction, story_id: str) -> None:
    """Ends the attempts that are STARTED as cancelled."""
    rows = tx.execute("SELECT attempt FROM story_attempts WHERE story_id = ?", (story_id,)).fetchall()
    attempts = [common_pb2.Attempt.FromString(row["attempt"]) for row in rows]
    started = [attempt for attempt in attempts if attempt.outcome == common_pb2.ATTEMPT_OUTCOME_STARTED]
    store_attempts(tx, story_id, started, ended=tx.now)


def store_problems(tx: Transaction, story_id: str, problems: Iterable[common_pb2.Problem]) -> None:
    """Adds problems that are not stored yet."""
    tx.executemany(
        "INSERT OR IGNORE INTO story_problems (story_id, problem) VALUES (?, ?)",
        [(story_id, problem.SerializeToString(deterministic=True)) for problem in problems],
    )


def _ended(attempt: common_pb2.Attempt, end_time: Timestamp | None) -> common_pb2.Attempt:
    if end_time is None or attempt.outcome != common_pb2.ATTEMPT_OUTCOME_STARTED:
        return attempt
    ended = common_pb2.Attempt()
    ended.CopyFrom(attempt)
    ended.outcome = common_pb2.ATTEMPT_OUTCOME_CANCELLED
    ended.end_time.CopyFrom(end_time)
    return ended
