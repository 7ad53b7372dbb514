"""New stories."""

from typing import Final

from servicekit.errors import wrong_state
from storage_service.embedded.leasing import take_lease
from storage_service.embedded.ledger import store_problems
from storage_service.embedded.profiles import load_profile
from storage_service.embedded.repeating import find_request, is_deleted, keep_request
from storage_service.embedded.rows import load_record
from storage_service.embedded.transactions import Transaction
from storage_service.errors import resource_deleted, story_not_found
from storage_service.messages import body_of_new
from storage_service.records import NewStory
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

PART: Final = "store"
"""What this store is called among the embedded parts of a story."""


def create_story(tx: Transaction, owner: str, new: NewStory) -> tuple[storage_pb2.StoryRecord, bool]:
    """Stores a story unless its request or id is known; the story and whether it is new."""
    story_id, created = _find_or_insert(tx, owner, new)
    return load_record(tx, owner, story_id, full=False), created


def insert_body(
    tx: Transaction,
    story_id: str,
    spec: common_pb2.StorySpec,
    body: common_pb2.Story,
    voice: common_pb2.VoiceSelection,
) -> None:
    """Stores what is large and seldom changes."""
    tx.execute(
        "INSERT INTO story_bodies (story_id, spec, story, voice) VALUES (?, ?, ?, ?)",
        (story_id, spec.SerializeToString(), body.SerializeToString(), voice.SerializeToString()),
    )


def _find_or_insert(tx: Transaction, owner: str, new: NewStory) -> tuple[str, bool]:
    known = find_request(tx, owner, "CreateStory", new.repeat)
    if known is not None:
        return known, False
    if _is_known(tx, owner, new.story_id):
        return new.story_id, False
    story = _resolved(tx, owner, new.story)
    keep_request(tx, owner, "CreateStory", new.repeat, new.story_id)
    _insert(tx, owner, new, story)
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


def _resolved(tx: Transaction, owner: str, story: common_pb2.Story) -> common_pb2.Story:
    """The story with its child and hero as they are kept now."""
    resolved = common_pb2.Story()
    resolved.CopyFrom(story)
    resolved.kind = story.kind or common_pb2.STORY_KIND_CHILD
    if story.child_id:
        resolved.child.CopyFrom(load_profile(tx, owner, common_pb2.Child, story.child_id))
    if story.hero_id:
        resolved.hero.CopyFrom(load_profile(tx, owner, common_pb2.Hero, story.hero_id))
    if story.parent_story_id:
        _check_parent(tx, owner, story.parent_story_id)
    return resolved


def _check_parent(tx: Transaction, owner: str, story_id: str) -> None:
    row = tx.execute("SELECT content_complete FROM stories WHERE id = ? AND owner = ?", (story_id, owner)).fetchone()
    if row is None:
        raise story_not_found(story_id)
    if not row["content_complete"]:
        raise wrong_state("A story can only go on from one whose text is whole.", parent_story_id=story_id)


def _insert(tx: Transaction, owner: str, new: NewStory, story: common_pb2.Story) -> None:
    tx.execute(
        "INSERT INTO stories (id, owner, state, kind, child_id, child_name, hero_id, parent_story_id, language_code,"
        " length_minutes, narrate, embedded_parts, create_time, update_time)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.story_id,
            owner,
            common_pb2.STORY_STATE_PENDING,
            story.kind,
            story.child_id,
            story.child.name,
            story.hero_id,
            story.parent_story_id,
            story.language_code,
            story.length_minutes,
            story.narrate,
            ",".join(dict.fromkeys([PART, *story.embedded_parts])),
            tx.now,
            tx.now,
        ),
    )
    insert_body(tx, new.story_id, new.spec, body_of_new(story), story.voice)
    store_problems(tx, new.story_id, story.problems)
