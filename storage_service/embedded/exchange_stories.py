"""Stories that come from elsewhere, with all that hangs on them."""

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from storage_service import states
from storage_service.embedded.audio_rows import store_audio
from storage_service.embedded.checkpointing import store_manifest
from storage_service.embedded.creating import insert_body
from storage_service.embedded.indexing import enter
from storage_service.embedded.ledger import store_attempts, store_problems
from storage_service.embedded.transactions import Transaction
from storage_service.messages import body_of, generation_of, without_segments
from storage_service.records import ObjectKey
from tale.storage.v1 import storage_pb2


def keep_story(tx: Transaction, record: storage_pb2.StoryRecord, key: ObjectKey | None) -> bool:
    """Stores a story; False where its id is known. A narration in the making is not carried over: it starts again."""
    story_id = record.story.id
    known = "SELECT 1 FROM stories WHERE id = ?1 UNION ALL SELECT 1 FROM tombstones WHERE resource_id = ?1"
    if tx.execute(known, (story_id,)).fetchone() is not None:
        return False
    columns = _columns(record)
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    tx.execute(f"INSERT INTO stories ({names}) VALUES ({marks})", list(columns.values()))  # noqa: S608
    _store_body(tx, record)
    if key is not None:
        audio = record.story.audio
        store_audio(tx, story_id, without_segments(audio), key, len(audio.segments))
        store_manifest(tx, story_id, audio.audio_id, audio.segments)
    store_attempts(tx, story_id, record.story.attempts, ended=None)
    store_problems(tx, story_id, record.story.problems)
    enter(tx, story_id)
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


def _store_body(tx: Transaction, record: storage_pb2.StoryRecord) -> None:
    story = record.story
    insert_body(tx, story.id, record.spec, body_of(story), story.voice)
    if story.content:
        tx.execute("INSERT INTO story_texts (story_id, start, text) VALUES (?, 0, ?)", (story.id, story.content))
    if (generation := generation_of(story)) is not None:
        tx.execute(
            "INSERT INTO story_generations (story_id, generation) VALUES (?, ?)",
            (story.id, generation.SerializeToString()),
        )


def _time(time: Timestamp) -> int:
    return time.ToMicroseconds()
