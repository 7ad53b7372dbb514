"""Stories that come from elsewhere, with all that hangs on them."""

import sqlite3
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from storage_service import states
from storage_service.embedded.checkpointing import store_manifest
from storage_service.embedded.creating import keep_problems
from storage_service.embedded.indexing import enter
from storage_service.embedded.ledger import store_attempts
from storage_service.embedded.object_rows import mark_stored
from storage_service.records import ObjectKey
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_KEPT_APART: Final = (
    "id",
    "state",
    "revision",
    "title",
    "content",
    "content_complete",
    "narrate",
    "rating",
    "voice",
    "problems",
    "attempts",
    "embedded_parts",
    "audio",
    "model_used",
    "summary",
    "usage",
    "full_response",
    "generation_info",
    "create_time",
    "update_time",
    "end_time",
)
"""Fields of a story that have columns or tables of their own."""


def keep_story(connection: sqlite3.Connection, record: storage_pb2.StoryRecord, key: ObjectKey | None) -> bool:
    """Stores a story; False where its id is known. A narration in the making is not carried over: it starts again."""
    story_id = record.story.id
    known = "SELECT 1 FROM stories WHERE id = ?1 UNION ALL SELECT 1 FROM tombstones WHERE resource_id = ?1"
    if connection.execute(known, (story_id,)).fetchone() is not None:
        return False
    columns = _columns(record)
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    connection.execute(f"INSERT INTO stories ({names}) VALUES ({marks})", list(columns.values()))  # noqa: S608
    _keep_body(connection, record)
    if key is not None:
        _store_audio(connection, story_id, record.story.audio, key)
    store_attempts(connection, story_id, record.story.attempts, ended=None)
    keep_problems(connection, story_id, list(record.story.problems))
    enter(connection, story_id)
    return True


def _columns(record: storage_pb2.StoryRecord) -> dict[str, Any]:
    story, run = record.story, record.run
    return {
        "id": story.id,
        "owner": record.owner,
        "state": story.state,
        "revision": story.revision,
        "kind": story.kind,
        "child_id": story.child_id,
        "child_name": story.child.name,
        "hero_id": story.hero_id,
        "parent_story_id": story.parent_story_id,
        "language_code": story.language_code,
        "length_minutes": story.length_minutes,
        "narrate": story.narrate,
        "rating": story.rating if story.HasField("rating") else None,
        "title": story.title,
        "content_length": len(story.content),
        "content_complete": story.content_complete,
        "embedded_parts": ",".join(story.embedded_parts),
        "create_time": story.create_time.ToMicroseconds(),
        "update_time": story.update_time.ToMicroseconds(),
        "end_time": _time(story.end_time) if story.HasField("end_time") else None,
        "lease_token": run.lease_token,
        "start_time": _time(run.start_time) if run.HasField("start_time") else None,
        "pickup_count": run.pickup_count,
        # Who held it is elsewhere: the next claim is one after a hand-over.
        "handed_over": not states.is_final(story.state) and run.HasField("start_time"),
    }


def _keep_body(connection: sqlite3.Connection, record: storage_pb2.StoryRecord) -> None:
    story = record.story
    begun = common_pb2.Story()
    begun.CopyFrom(story)
    for field in _KEPT_APART:
        begun.ClearField(field)
    connection.execute(
        "INSERT INTO story_bodies (story_id, spec, story, voice) VALUES (?, ?, ?, ?)",
        (story.id, record.spec.SerializeToString(), begun.SerializeToString(), story.voice.SerializeToString()),
    )
    if story.content:
        connection.execute(
            "INSERT INTO story_texts (story_id, start, text) VALUES (?, 0, ?)", (story.id, story.content)
        )
    generation = storage_pb2.GenerationRecord(
        model_used=story.model_used,
        summary=story.summary,
        usage=story.usage if story.HasField("usage") else None,
        full_response=story.full_response,
        generation_info=story.generation_info if story.HasField("generation_info") else None,
    )
    if generation.ListFields():
        connection.execute(
            "INSERT INTO story_generations (story_id, generation) VALUES (?, ?)",
            (story.id, generation.SerializeToString()),
        )


def _store_audio(connection: sqlite3.Connection, story_id: str, audio: common_pb2.StoryAudio, key: ObjectKey) -> None:
    bare = common_pb2.StoryAudio()
    bare.CopyFrom(audio)
    bare.ClearField("segments")
    mark_stored(connection, key)
    connection.execute(
        "INSERT INTO story_audio (story_id, audio_id, object_id, sha256, duration, segment_count, audio)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            story_id,
            audio.audio_id,
            key.object_id,
            audio.sha256,
            audio.duration.ToMicroseconds(),
            len(audio.segments),
            bare.SerializeToString(),
        ),
    )
    store_manifest(connection, story_id, audio.audio_id, audio.segments)


def _time(time: Timestamp) -> int:
    return time.ToMicroseconds()
