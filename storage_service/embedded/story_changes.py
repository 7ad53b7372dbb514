"""What is new in stories."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from storage_service.embedded.database import Transaction
from storage_service.embedded.rows import load_segments, load_text
from storage_service.stories.following import Answer, StoryNow, is_news, known_segments
from tale.storage.v1 import storage_pb2

_STORIES: Final = """
SELECT s.id, s.state, s.lease_token, s.lease_expire_time, s.title, s.content_length, s.content_complete,
       s.narration_audio_id, s.segment_count,
       (SELECT count(*) FROM story_problems p WHERE p.story_id = s.id) AS problem_count
FROM stories s WHERE s.id IN ({marks})
"""


def follow_stories(
    tx: Transaction, positions: Sequence[storage_pb2.StoryPosition], *, max_bytes: int
) -> tuple[Sequence[storage_pb2.StoryChange], bool]:
    """What is new behind each position, and whether that is more than fits."""
    answer = Answer(max_bytes)
    query = _STORIES.format(marks=",".join("?" * len(positions)))
    rows = {row["id"]: row for row in tx.execute(query, [position.story_id for position in positions])}
    for position in positions:
        row = rows.get(position.story_id)
        if row is None:
            answer.add(storage_pb2.StoryChange(story_id=position.story_id, deleted=True))
        elif is_news(position, story := _to_now(tx, row)):
            _add(tx, answer, position, story)
        if answer.truncated:
            break
    return answer.changes, answer.truncated


def _add(tx: Transaction, answer: Answer, position: storage_pb2.StoryPosition, story: StoryNow) -> None:
    story_id = position.story_id
    change = storage_pb2.StoryChange(story_id=story_id, state=story.state, leased=story.leased)
    if position.lease_token:
        answer.add(change)
        return
    change.title, change.content_complete = story.title, story.content_complete
    if story.content_length > position.text_length:
        change.text.offset = position.text_length
        change.text.text = load_text(tx, story_id, position.text_length)
    if story.problem_count > position.problem_count:
        problems = tx.execute(
            "SELECT problem FROM story_problems WHERE story_id = ? ORDER BY sequence LIMIT -1 OFFSET ?",
            (story_id, position.problem_count),
        )
        for (problem,) in problems:
            change.problems.add().ParseFromString(problem)
    segments = []
    if story.audio_id:
        if story.audio_id != position.audio_id:
            (header,) = tx.execute("SELECT narration FROM stories WHERE id = ?", (story_id,)).fetchone()
            change.narration.ParseFromString(header)
        known = known_segments(position, story)
        segments = load_segments(tx, story_id, story.audio_id, known, story.segment_count)
    answer.add(change, segments)


def _to_now(tx: Transaction, row: sqlite3.Row) -> StoryNow:
    expires = row["lease_expire_time"]
    return StoryNow(
        state=row["state"],
        lease_token=row["lease_token"],
        leased=expires is not None and expires > tx.now,
        title=row["title"],
        content_length=row["content_length"],
        content_complete=bool(row["content_complete"]),
        audio_id=row["narration_audio_id"],
        segment_count=row["segment_count"],
        problem_count=row["problem_count"],
    )
