"""New stories."""

import sqlite3
from typing import Final

from servicekit.errors import wrong_state
from storage_service.embedded.leasing import take_lease
from storage_service.embedded.profile_rows import load_profile
from storage_service.embedded.repeating import find_request, is_deleted, keep_request
from storage_service.errors import story_deleted, story_not_found
from storage_service.records import NewStory
from tale.common.v1 import common_pb2

PART: Final = "store"
"""What this store is called among the embedded parts of a story."""

_KEPT_APART: Final = ("voice", "problems", "narrate", "embedded_parts")
"""Fields of a new story that have columns or tables of their own."""


def create_story(connection: sqlite3.Connection, owner: str, new: NewStory, now: int) -> tuple[str, bool]:
    """Keeps a story unless its request or id is known; the id of the story and whether it is new."""
    known = find_request(connection, owner, "CreateStory", new.repeat)
    if known is not None:
        return known, False
    if _is_known(connection, owner, new.story_id):
        return new.story_id, False
    story = _resolved(connection, owner, new.story)
    keep_request(connection, owner, "CreateStory", new.repeat, new.story_id, now)
    _insert(connection, owner, new, story, now)
    if new.lease is not None:
        take_lease(connection, new.story_id, new.lease, now)
    return new.story_id, True


def keep_problems(connection: sqlite3.Connection, story_id: str, problems: list[common_pb2.Problem]) -> None:
    """Adds problems that are not kept yet."""
    connection.executemany(
        "INSERT OR IGNORE INTO story_problems (story_id, problem) VALUES (?, ?)",
        [(story_id, problem.SerializeToString(deterministic=True)) for problem in problems],
    )


def _is_known(connection: sqlite3.Connection, owner: str, story_id: str) -> bool:
    row = connection.execute("SELECT owner FROM stories WHERE id = ?", (story_id,)).fetchone()
    if row is not None:
        if row["owner"] != owner:
            raise story_not_found(story_id)
        return True
    if is_deleted(connection, owner, story_id):
        raise story_deleted(story_id)
    return False


def _resolved(connection: sqlite3.Connection, owner: str, story: common_pb2.Story) -> common_pb2.Story:
    """The story with its child and hero as they are kept now."""
    resolved = common_pb2.Story()
    resolved.CopyFrom(story)
    resolved.kind = story.kind or common_pb2.STORY_KIND_CHILD
    if story.child_id:
        resolved.child.CopyFrom(load_profile(connection, owner, common_pb2.Child, story.child_id))
    if story.hero_id:
        resolved.hero.CopyFrom(load_profile(connection, owner, common_pb2.Hero, story.hero_id))
    if story.parent_story_id:
        _check_parent(connection, owner, story.parent_story_id)
    return resolved


def _check_parent(connection: sqlite3.Connection, owner: str, story_id: str) -> None:
    row = connection.execute(
        "SELECT content_complete FROM stories WHERE id = ? AND owner = ?", (story_id, owner)
    ).fetchone()
    if row is None:
        raise story_not_found(story_id)
    if not row["content_complete"]:
        raise wrong_state("A story can only go on from one whose text is whole.", parent_story_id=story_id)


def _insert(connection: sqlite3.Connection, owner: str, new: NewStory, story: common_pb2.Story, now: int) -> None:
    connection.execute(
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
            now,
            now,
        ),
    )
    begun = common_pb2.Story()
    begun.CopyFrom(story)
    for field in _KEPT_APART:
        begun.ClearField(field)
    connection.execute(
        "INSERT INTO story_bodies (story_id, spec, story, voice) VALUES (?, ?, ?, ?)",
        (new.story_id, new.spec.SerializeToString(), begun.SerializeToString(), story.voice.SerializeToString()),
    )
    keep_problems(connection, new.story_id, list(story.problems))
