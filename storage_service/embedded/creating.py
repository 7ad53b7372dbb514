"""New stories, and requests that come again."""

import sqlite3
from typing import Final

from storage_service.embedded.leasing import take_lease
from storage_service.errors import request_id_reused, story_deleted, story_not_found
from storage_service.records import NewStory, RepeatKey
from tale.common.v1 import common_pb2

_KEPT_APART: Final = ("voice", "problems", "narrate", "embedded_parts")
"""Fields of a new story that have columns or tables of their own."""


def create_story(connection: sqlite3.Connection, owner: str, new: NewStory, now: int) -> tuple[str, bool]:
    """Keeps a story unless its request or id is known; the id of the story and whether it is new."""
    known = find_request(connection, owner, "CreateStory", new.repeat)
    if known is not None:
        return known, False
    if _is_known(connection, owner, new.story_id):
        return new.story_id, False
    keep_request(connection, owner, "CreateStory", new.repeat, new.story_id, now)
    _insert(connection, owner, new, now)
    if new.lease is not None:
        take_lease(connection, new.story_id, new.lease, now)
    return new.story_id, True


def find_request(
    connection: sqlite3.Connection, owner: str, rpc: str, repeat: RepeatKey | None, story_id: str | None = None
) -> str | None:
    """The story that a request was about when it came before, None if it did not.

    Raises REQUEST_ID_REUSED when the id stood for anything else and STORY_DELETED.
    """
    if repeat is None:
        return None
    row = connection.execute(
        "SELECT rpc, fingerprint, story_id FROM requests WHERE owner = ? AND request_id = ?",
        (owner, repeat.request_id),
    ).fetchone()
    if row is None:
        return None
    known: str = row["story_id"]
    if row["rpc"] != rpc or row["fingerprint"] != repeat.fingerprint or story_id not in {None, known}:
        raise request_id_reused()
    if _is_deleted(connection, owner, known):
        raise story_deleted(known)
    return known


def keep_request(
    connection: sqlite3.Connection, owner: str, rpc: str, repeat: RepeatKey | None, story_id: str, now: int
) -> None:
    """Remembers a request that can come again."""
    if repeat is not None:
        connection.execute(
            "INSERT INTO requests (owner, request_id, rpc, fingerprint, story_id, create_time)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (owner, repeat.request_id, rpc, repeat.fingerprint, story_id, now),
        )


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
    if _is_deleted(connection, owner, story_id):
        raise story_deleted(story_id)
    return False


def _is_deleted(connection: sqlite3.Connection, owner: str, story_id: str) -> bool:
    found = connection.execute("SELECT 1 FROM tombstones WHERE story_id = ? AND owner = ?", (story_id, owner))
    return found.fetchone() is not None


def _insert(connection: sqlite3.Connection, owner: str, new: NewStory, now: int) -> None:
    story = new.story
    connection.execute(
        "INSERT INTO stories (id, owner, state, kind, child_id, child_name, hero_id, parent_story_id, language_code,"
        " length_minutes, narrate, embedded_parts, create_time, update_time)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.story_id,
            owner,
            common_pb2.STORY_STATE_PENDING,
            story.kind or common_pb2.STORY_KIND_CHILD,
            story.child_id,
            story.child.name,
            story.hero_id,
            story.parent_story_id,
            story.language_code,
            story.length_minutes,
            story.narrate,
            ",".join(story.embedded_parts),
            now,
            now,
        ),
    )
    begun = common_pb2.Story()
    begun.CopyFrom(story)
    begun.kind = story.kind or common_pb2.STORY_KIND_CHILD
    for field in _KEPT_APART:
        begun.ClearField(field)
    connection.execute(
        "INSERT INTO story_bodies (story_id, spec, story, voice) VALUES (?, ?, ?, ?)",
        (new.story_id, new.spec.SerializeToString(), begun.SerializeToString(), story.voice.SerializeToString()),
    )
    keep_problems(connection, new.story_id, list(story.problems))
