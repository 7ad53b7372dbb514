"""Rows of the database as messages."""

import sqlite3
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from storage_service.embedded.database import Transaction
from storage_service.errors import story_not_found
from storage_service.messages import add_facts, add_generation, excerpt_of, listed
from storage_service.stories.checkpoints import RunFacts
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_STORY: Final = """
SELECT s.*, b.spec, b.story, b.voice, b.outline, g.generation,
       a.audio, a.audio_id AS stored_audio_id, a.segment_count AS stored_segment_count
FROM stories s
JOIN story_bodies b ON b.story_id = s.id
LEFT JOIN story_generations g ON g.story_id = s.id
LEFT JOIN story_audio a ON a.story_id = s.id
WHERE s.id = ? AND s.owner = ?
"""

WORKED: Final = "work_duration + coalesce(max(0, min(:now, lease_expire_time) - renew_time), 0)"
"""The work under leases of a row of `stories` until the time `:now`."""

_FACTS: Final = """
SELECT s.state, s.revision, s.rating, s.lease_token, s.lease_expire_time, s.narrate, s.title, s.content_length,
       s.content_complete, s.narration_audio_id, s.narration, s.segment_count, s.text_end, s.audio_end,
       s.embedded_parts, a.audio_id AS stored_audio_id
FROM stories s LEFT JOIN story_audio a ON a.story_id = s.id
WHERE s.id = ?
"""


def load_record(tx: Transaction, owner: str, story_id: str, *, full: bool) -> storage_pb2.StoryRecord:
    """Returns a stored story, without `full` less what is marked "FULL view only"; STORY_NOT_FOUND."""
    row = tx.execute(_STORY, (story_id, owner)).fetchone()
    if row is None:
        raise story_not_found(story_id)
    record = storage_pb2.StoryRecord(owner=owner, story=_story(row), run=_run(row))
    record.spec.ParseFromString(row["spec"])
    story = record.story
    story.content = load_text(tx, story_id)
    for (problem,) in tx.execute(
        "SELECT problem FROM story_problems WHERE story_id = ? ORDER BY sequence", (story_id,)
    ):
        story.problems.add().ParseFromString(problem)
    if row["narration_audio_id"]:
        record.run.segments.extend(load_segments(tx, story_id, row["narration_audio_id"], 0, row["segment_count"]))
    if row["generation"] is not None:
        add_generation(story, row["generation"], full=full)
    if full:
        for (attempt,) in tx.execute(
            "SELECT attempt FROM story_attempts WHERE story_id = ? ORDER BY sequence", (story_id,)
        ):
            story.attempts.add().ParseFromString(attempt)
        if row["audio"] is not None:
            story.audio.segments.extend(
                load_segments(tx, story_id, row["stored_audio_id"], 0, row["stored_segment_count"])
            )
    return add_facts(record)


def load_facts(tx: Transaction, story_id: str) -> tuple[RunFacts, sqlite3.Row] | None:
    """Returns what checkpoints and leases are judged by, and its row; None for an unknown story."""
    row = tx.execute(_FACTS, (story_id,)).fetchone()
    if row is None:
        return None
    facts = RunFacts(
        state=row["state"],
        lease_token=row["lease_token"],
        leased=row["lease_expire_time"] is not None,
        narrate=bool(row["narrate"]),
        title=row["title"],
        content_length=row["content_length"],
        content_complete=bool(row["content_complete"]),
        narration_audio_id=row["narration_audio_id"],
        segment_count=row["segment_count"],
        text_end=row["text_end"],
        audio_end=row["audio_end"],
        stored_audio_id=row["stored_audio_id"] or "",
    )
    return facts, row


def load_text(tx: Transaction, story_id: str, start: int = 0, end: int | None = None) -> str:
    """Returns code points [start, end) of the text as far as it is stored."""
    rows = tx.execute(
        "SELECT start, text FROM story_texts WHERE story_id = ?1 AND (?3 IS NULL OR start < ?3) AND start >= coalesce("
        "(SELECT max(start) FROM story_texts WHERE story_id = ?1 AND start <= ?2), 0) ORDER BY start",
        (story_id, start, end),
    ).fetchall()
    first = rows[0]["start"] if rows else 0
    text = "".join([row["text"] for row in rows])
    return text[start - first : None if end is None else end - first]


def load_segments(tx: Transaction, story_id: str, audio_id: str, start: int, end: int) -> list[common_pb2.Segment]:
    """Returns segments [start, end) of a manifest."""
    rows = tx.execute(
        "SELECT segment FROM story_segments WHERE story_id = ? AND audio_id = ? AND position >= ? AND position < ?"
        " ORDER BY position",
        (story_id, audio_id, start, end),
    )
    return [common_pb2.Segment.FromString(segment) for (segment,) in rows]


def to_summary(row: sqlite3.Row) -> common_pb2.StorySummary:
    """Returns a row of a listing."""
    summary = common_pb2.StorySummary(
        id=row["id"],
        state=row["state"],
        title=row["title"],
        kind=row["kind"],
        child_id=row["child_id"],
        hero_id=row["hero_id"],
        child_name=row["child_name"],
        language_code=row["language_code"],
        length_minutes=row["length_minutes"],
        rating=row["rating"],
        revision=row["revision"],
        create_time=timestamp(row["create_time"]),
        update_time=timestamp(row["update_time"]),
        excerpt=excerpt_of(row["beginning"] or ""),
    )
    if row["duration"] is not None:
        summary.audio_duration.FromMicroseconds(row["duration"])
    if row["outline"] is not None:
        summary.outline.CopyFrom(listed(common_pb2.StoryOutline.FromString(row["outline"])))
    return summary


def timestamp(microseconds: int) -> Timestamp:
    """Returns microseconds since the Unix epoch as a message."""
    message = Timestamp()
    message.FromMicroseconds(microseconds)
    return message


def split_parts(parts: str) -> list[str]:
    """Returns names of embedded parts as they stand in a column."""
    return parts.split(",") if parts else []


def _story(row: sqlite3.Row) -> common_pb2.Story:
    story = common_pb2.Story.FromString(row["story"])
    story.id, story.state, story.revision, story.title = (row[name] for name in ("id", "state", "revision", "title"))
    story.narrate, story.content_complete = bool(row["narrate"]), bool(row["content_complete"])
    if row["voice"]:
        story.voice.ParseFromString(row["voice"])
    if row["outline"] is not None:
        story.outline.ParseFromString(row["outline"])
    story.create_time.FromMicroseconds(row["create_time"])
    story.update_time.FromMicroseconds(row["update_time"])
    story.embedded_parts.extend(split_parts(row["embedded_parts"]))
    if row["end_time"] is not None:
        story.end_time.FromMicroseconds(row["end_time"])
    if row["rating"] is not None:
        story.rating = row["rating"]
    if row["audio"] is not None:
        story.audio.ParseFromString(row["audio"])
    return story


def _run(row: sqlite3.Row) -> storage_pb2.RunRecord:
    run = storage_pb2.RunRecord(lease_token=row["lease_token"], pickup_count=row["pickup_count"])
    if row["lease_expire_time"] is not None:
        run.lease_expire_time.FromMicroseconds(row["lease_expire_time"])
    run.work_duration.FromMicroseconds(row["work_duration"])
    if row["narration"] is not None:
        run.narration.ParseFromString(row["narration"])
    return run
