"""Stores what runs have made, and reports what is new in stories."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.reasons import explained
from storage_service.embedded.audio import find_digest, note_use
from storage_service.embedded.database import Transaction
from storage_service.embedded.rows import WORKED, load_facts, load_segments, load_text, split_parts, timestamp
from storage_service.embedded.search import enter, is_found, leave
from storage_service.embedded.usage import count_attempts
from storage_service.messages import ChangePage
from storage_service.records import Digest
from storage_service.stories.checkpoints import Advance, CheckpointRefused, RunFacts, judge
from storage_service.stories.states import PENDING, WRITING, is_final
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_WORK: Final = f"CASE WHEN :waiting THEN work_duration ELSE {WORKED} END"

_ADVANCE: Final = f"""
UPDATE stories SET
    state = :state, title = :title, content_length = :content_length, content_complete = :content_complete,
    embedded_parts = :embedded_parts, narration_audio_id = :narration_audio_id,
    narration = coalesce(:narration, narration), segment_count = :segment_count, text_end = :text_end,
    audio_end = :audio_end, update_time = :now,
    pickup_count = CASE WHEN :progress THEN 0 ELSE pickup_count END,
    end_time = CASE WHEN :ended THEN :now ELSE end_time END,
    work_duration = {_WORK}, lease_expire_time = :lease_expire_time, renew_time = :now
WHERE id = :id
"""  # noqa: S608 - an expression of this program

_RENEW: Final = f"""
UPDATE stories SET work_duration = {_WORK}, lease_expire_time = :lease_expire_time, renew_time = :now WHERE id = :id
"""  # noqa: S608 - an expression of this program


class _Pieces:
    """The stored pieces of one story."""

    def __init__(self, tx: Transaction, story_id: str, audio_id: str) -> None:
        self._tx = tx
        self._story_id = story_id
        self._audio_id = audio_id

    def text(self, start: int, end: int) -> str:
        """Returns code points [start, end) of the content."""
        return load_text(self._tx, self._story_id, start, end)

    def manifest_segment(self, index: int) -> tuple[str, bytes] | None:
        """Returns key and SHA-256 of a segment of the run's manifest."""
        row = self._tx.execute(
            "SELECT key, sha256 FROM story_segments WHERE story_id = ? AND audio_id = ? AND position = ?",
            (self._story_id, self._audio_id, index),
        ).fetchone()
        return (row["key"], row["sha256"]) if row else None

    def stored_segment(self, key: str) -> Digest | None:
        """Returns size and SHA-256 of a segment in the segment store."""
        return find_digest(self._tx, key)


def checkpoint_stories(
    tx: Transaction, lease_duration: int, checkpoints: Sequence[storage_pb2.StoryCheckpoint]
) -> Sequence[storage_pb2.CheckpointResult]:
    """Judges each checkpoint by itself and stores what is new in those that hold."""
    return [_checkpoint(tx, lease_duration, checkpoint) for checkpoint in checkpoints]


def _checkpoint(
    tx: Transaction, duration: int, checkpoint: storage_pb2.StoryCheckpoint
) -> storage_pb2.CheckpointResult:
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
    final = is_final(facts.state)
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
    if outline := checkpoint.outline.SerializeToString():
        tx.execute("UPDATE story_bodies SET outline = ? WHERE story_id = ?", (outline, checkpoint.story_id))
    _store_pieces(tx, checkpoint.story_id, facts, advance)
    expire_time = None if is_final(advance.state) else tx.now + duration
    if advance.progress or _adds_to_the_record(checkpoint):
        _advance(tx, checkpoint, facts, advance, row, expire_time)
    else:
        given = {"id": checkpoint.story_id, "now": tx.now, "lease_expire_time": expire_time}
        tx.execute(_RENEW, {**given, "waiting": checkpoint.waiting})
    if expire_time is not None:
        result.lease_expire_time.CopyFrom(timestamp(expire_time))
    return result


def _refuse(tx: Transaction, result: storage_pb2.CheckpointResult, refused: CheckpointRefused) -> None:
    problem = common_pb2.Problem(reason=refused.reason, message=refused.message, time=timestamp(tx.now))
    result.error.CopyFrom(explained(problem))


def _adds_to_the_record(checkpoint: storage_pb2.StoryCheckpoint) -> bool:
    return bool(
        checkpoint.attempts
        or checkpoint.problems
        or checkpoint.embedded_parts
        or checkpoint.HasField("generation")
        or checkpoint.outline.ByteSize()
    )


def _store_pieces(tx: Transaction, story_id: str, facts: RunFacts, advance: Advance) -> None:
    if advance.text:
        tx.execute(
            "INSERT INTO story_texts (story_id, start, text) VALUES (?, ?, ?)",
            (story_id, facts.content_length, advance.text),
        )
    if advance.narration is not None:
        # The manifest before it goes, unless the stored audio came from it.
        tx.execute("DELETE FROM story_segments WHERE story_id = ? AND audio_id <> ?", (story_id, facts.stored_audio_id))
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
            "waiting": checkpoint.waiting,
        },
    )
    if will_be and (renamed or not was):
        enter(tx, checkpoint.story_id)


def _audio_id(facts: RunFacts, narration: common_pb2.NarrationHeader | None) -> str:
    return facts.narration_audio_id if narration is None else narration.audio_id


def store_attempts(
    tx: Transaction,
    story_id: str,
    attempts: Iterable[common_pb2.Attempt],
    *,
    ended: int | None,
    counted: bool = True,
) -> None:
    """Adds attempts, each in place of an earlier line of its id, and counts what they used.

    Where the story `ended`, one that is still STARTED is stored as cancelled then. Those of an
    import are not `counted`.
    """
    end_time = None if ended is None else timestamp(ended)
    # Of lines with the same id the last one counts.
    lines = {attempt.attempt_id: _ended(attempt, end_time) for attempt in attempts}
    if counted:
        known = tx.execute(
            "SELECT attempt FROM story_attempts WHERE story_id = ? AND attempt_id IN (SELECT value FROM json_each(?))",
            (story_id, json.dumps([*lines])),
        )
        count_attempts(tx, story_id, lines.values(), [common_pb2.Attempt.FromString(row[0]) for row in known])
    tx.executemany(
        "INSERT INTO story_attempts (story_id, attempt_id, attempt) VALUES (?, ?, ?)"
        " ON CONFLICT (story_id, attempt_id) DO UPDATE SET attempt = excluded.attempt",
        [(story_id, attempt_id, line.SerializeToString()) for attempt_id, line in lines.items()],
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


def _is_news(position: storage_pb2.StoryPosition, now: sqlite3.Row) -> bool:
    """Returns True where there is more than `position` says."""
    if position.lease_token:
        return is_final(now["state"]) or position.lease_token != now["lease_token"]
    audio_id = now["narration_audio_id"]
    return (
        now["state"] != position.state
        or now["content_length"] > position.text_length
        or now["problem_count"] > position.problem_count
        or (audio_id != "" and now["segment_count"] > _known_segments(position, audio_id))
        or (audio_id not in {"", position.audio_id})
        # A position does not say whether these are known.
        or (now["title"] != "" and now["content_length"] == 0)
        or (bool(now["content_complete"]) and now["state"] in {PENDING, WRITING})
    )


def _known_segments(position: storage_pb2.StoryPosition, audio_id: str) -> int:
    """Returns segments that are known of the narration in progress."""
    return position.segment_count if position.audio_id == audio_id else 0


_STORIES: Final = """
SELECT s.id, s.state, s.lease_token, s.lease_expire_time, s.title, s.content_length, s.content_complete,
       s.narration_audio_id, s.segment_count,
       (SELECT count(*) FROM story_problems p WHERE p.story_id = s.id) AS problem_count
FROM stories s WHERE s.id IN ({marks})
"""


def follow_stories(
    tx: Transaction, positions: Sequence[storage_pb2.StoryPosition], *, max_bytes: int
) -> tuple[Sequence[storage_pb2.StoryChange], bool]:
    """Returns what is new behind each position, and whether that is more than fits."""
    answer = ChangePage(max_bytes)
    query = _STORIES.format(marks=",".join("?" * len(positions)))
    rows = {row["id"]: row for row in tx.execute(query, [position.story_id for position in positions])}
    for position in positions:
        row = rows.get(position.story_id)
        if row is None:
            answer.add(storage_pb2.StoryChange(story_id=position.story_id, deleted=True))
        elif _is_news(position, row):
            _add(tx, answer, position, row)
        if answer.truncated:
            break
    return answer.changes, answer.truncated


def _add(tx: Transaction, answer: ChangePage, position: storage_pb2.StoryPosition, now: sqlite3.Row) -> None:
    story_id, audio_id, expires = position.story_id, now["narration_audio_id"], now["lease_expire_time"]
    leased = expires is not None and expires > tx.now
    change = storage_pb2.StoryChange(story_id=story_id, state=now["state"], leased=leased)
    if position.lease_token:
        answer.add(change)
        return
    change.title, change.content_complete = now["title"], bool(now["content_complete"])
    if now["content_length"] > position.text_length:
        change.text.offset = position.text_length
        change.text.text = load_text(tx, story_id, position.text_length)
    if now["problem_count"] > position.problem_count:
        problems = tx.execute(
            "SELECT problem FROM story_problems WHERE story_id = ? ORDER BY sequence LIMIT -1 OFFSET ?",
            (story_id, position.problem_count),
        )
        for (problem,) in problems:
            change.problems.add().ParseFromString(problem)
    segments = []
    if audio_id:
        if audio_id != position.audio_id:
            (header,) = tx.execute("SELECT narration FROM stories WHERE id = ?", (story_id,)).fetchone()
            change.narration.ParseFromString(header)
        known = _known_segments(position, audio_id)
        segments = load_segments(tx, story_id, audio_id, known, now["segment_count"])
    answer.add(change, segments)
