"""Removes stories and children for good."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from storage_service.embedded.indexing import leave
from storage_service.embedded.object_rows import to_keys
from storage_service.embedded.repeating import bury, is_deleted
from storage_service.embedded.scrubbing import note_removal
from storage_service.embedded.segment_rows import remove_unused, segments_of
from storage_service.errors import child_not_found, story_not_found
from storage_service.records import Erased, ObjectKey, Removed

_STORY: Final = "SELECT id, owner, child_id FROM stories"


def delete_story(connection: sqlite3.Connection, owner: str, story_id: str, now: int) -> Removed:
    """Removes one story; STORY_NOT_FOUND."""
    row = connection.execute(f"{_STORY} WHERE id = ? AND owner = ?", (story_id, owner)).fetchone()
    if row is None:
        raise story_not_found(story_id)
    return _remove(connection, row, now)


def erase_child(connection: sqlite3.Connection, owner: str, child_id: str, now: int) -> Erased:
    """Removes a child and all its stories; CHILD_NOT_FOUND where there never was such a child."""
    left = to_keys(
        connection.execute(
            "SELECT object_id, kind FROM objects WHERE state <> 'STORED' AND state = 'DELETED' AND child_id = ?",
            (child_id,),
        )
    )
    gone = connection.execute(
        "DELETE FROM profiles WHERE id = ? AND owner = ? AND kind = 1 RETURNING id", (child_id, owner)
    ).fetchall()
    if gone:
        bury(connection, owner, child_id, now)
        note_removal(connection)
    rows = connection.execute(f"{_STORY} WHERE owner = ? AND child_id = ?", (owner, child_id)).fetchall()
    if not (gone or rows or is_deleted(connection, owner, child_id)):
        raise child_not_found(child_id)
    dropped = [key for row in rows for key in _remove(connection, row, now).dropped]
    return Erased(len(rows), [*left, *dropped])


def expire_stories(connection: sqlite3.Connection, before: int, most: int, now: int) -> Sequence[Removed]:
    """Removes at most `most` stories that were accepted before a time and are not being made, oldest first."""
    rows = connection.execute(
        f"{_STORY} WHERE state IN (4, 5, 6, 7) AND create_time < ? ORDER BY create_time, id LIMIT ?",
        (before, most),
    ).fetchall()
    return [_remove(connection, row, now) for row in rows]


def _remove(connection: sqlite3.Connection, row: sqlite3.Row, now: int) -> Removed:
    """Removes a story with its audio and the segments that no other story uses.

    The token of its run is gone with it, so whatever the run still sends is refused.
    """
    story_id = row["id"]
    segments = segments_of(connection, story_id)
    dropped = _audio_of(connection, story_id)
    leave(connection, story_id)
    connection.execute("DELETE FROM stories WHERE id = ?", (story_id,))
    bury(connection, row["owner"], story_id, now)
    note_removal(connection)
    dropped += remove_unused(connection, segments)
    connection.executemany(
        "UPDATE objects SET child_id = ? WHERE object_id = ?", [(row["child_id"], key.object_id) for key in dropped]
    )
    return Removed(story_id, dropped)


def _audio_of(connection: sqlite3.Connection, story_id: str) -> list[ObjectKey]:
    return to_keys(
        connection.execute("SELECT object_id, 'audio' AS kind FROM story_audio WHERE story_id = ?", (story_id,))
    )
