"""Adds stories: new ones, and those that come from elsewhere."""

from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.errors import wrong_state
from storage_service.embedded.checkpointing import store_attempts, store_problems
from storage_service.embedded.database import Transaction
from storage_service.embedded.profiles import load_profile
from storage_service.embedded.repeating import find_request, is_deleted, keep_request
from storage_service.embedded.rows import load_record
from storage_service.embedded.searching import enter
from storage_service.embedded.updating import take_lease
from storage_service.errors import resource_deleted, story_not_found
from storage_service.messages import body_of, generation_of
from storage_service.records import NewStory
from storage_service.stories import states
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

PART: Final = "store"
"""What this store is called among the embedded parts of a story."""


def create_story(tx: Transaction, owner: str, new: NewStory) -> tuple[storage_pb2.StoryRecord, bool]:
    """Stores a story unless its request or id is known; the story and whether it is new."""
    story_id, created = _find_or_insert(tx, owner, new)
    return load_record(tx, owner, story_id, full=False), created


def _find_or_insert(tx: Transaction, owner: str, new: NewStory) -> tuple[str, bool]:
    known = find_request(tx, owner, "CreateStory", new.repeat)
    if known is not None:
        return known, False
    if _is_known(tx, owner, new.story_id):
        return new.story_id, False
    record = storage_pb2.StoryRecord(owner=owner, spec=new.spec, story=_resolved(tx, owner, new))
    keep_request(tx, owner, "CreateStory", new.repeat, new.story_id)
    insert_story(tx, record)
    if new.lease is not None:
        take_lease(tx, new.story_id, new.lease)
    return new.story_id, True


def _is_known(tx: Transaction, owner: str, story_id: str) -> bool:
    row = tx.execute("SELECT owner FROM stories WHERE id = ?", (story_id,)).fetchone()
    if row is not None:
        if row["owner"] != owner:
            raise story_not_found(story_id)
        return True
    if is_deleted(tx, owner, story_id):
        raise resource_deleted("story", story_id)
    return False


def _resolved(tx: Transaction, owner: str, new: NewStory) -> common_pb2.Story:
    """The story as it begins, with its child and hero as they are stored now."""
    story = common_pb2.Story()
    story.CopyFrom(new.story)
    story.id, story.state, story.revision = new.story_id, common_pb2.STORY_STATE_PENDING, 1
    story.kind = story.kind or common_pb2.STORY_KIND_CHILD
    story.embedded_parts[:] = dict.fromkeys([PART, *story.embedded_parts])
    story.create_time.FromMicroseconds(tx.now)
    story.update_time.FromMicroseconds(tx.now)
    if story.child_id:
        story.child.CopyFrom(load_profile(tx, owner, common_pb2.Child, story.child_id))
    if story.hero_id:
        story.hero.CopyFrom(load_profile(tx, owner, common_pb2.Hero, story.hero_id))
    if story.parent_story_id:
        _check_parent(tx, owner, story.parent_story_id)
    return story


def _check_parent(tx: Transaction, owner: str, story_id: str) -> None:
    row = tx.execute("SELECT content_complete FROM stories WHERE id = ? AND owner = ?", (story_id, owner)).fetchone()
    if row is None:
        raise story_not_found(story_id)
    if not row["content_complete"]:
        raise wrong_state("A story can only go on from one whose text is whole.", parent_story_id=story_id)


def insert_story(tx: Transaction, record: storage_pb2.StoryRecord) -> None:
    """Stores a story whose id is not known, with all that hangs on it but its audio and its run's narration."""
    story, columns = record.story, _columns(record)
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    tx.execute(f"INSERT INTO stories ({names}) VALUES ({marks})", list(columns.values()))  # noqa: S608
    body = (record.spec.SerializeToString(), body_of(story).SerializeToString(), story.voice.SerializeToString())
    tx.execute("INSERT INTO story_bodies (story_id, spec, story, voice) VALUES (?, ?, ?, ?)", (story.id, *body))
    if story.content:
        tx.execute("INSERT INTO story_texts (story_id, start, text) VALUES (?, 0, ?)", (story.id, story.content))
    if (generation := generation_of(story)) is not None:
        tx.execute(
            "INSERT INTO story_generations (story_id, generation) VALUES (?, ?)",
            (story.id, generation.SerializeToString()),
        )
    store_attempts(tx, story.id, story.attempts, ended=None)
    store_problems(tx, story.id, story.problems)
    enter(tx, story.id)


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
        "title": story.title,
        "content_complete": story.content_complete,
        "rating": story.rating if story.HasField("rating") else None,
        "content_length": len(story.content),
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


def _time(time: Timestamp) -> int:
    return time.ToMicroseconds()
