"""Removes stories and children for good, and remembers what is left to do about them outside the database."""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Final

from storage_service import states
from storage_service.embedded.indexing import leave
from storage_service.embedded.repeating import bury, is_deleted
from storage_service.embedded.scrubbing import note_removal, removed_count
from storage_service.errors import child_not_found, story_not_found
from storage_service.records import AudioKey, Erased, Removed
from tale.storage.v1 import storage_pb2

MAX_HASHES: Final = 10_000
"""Hashes kept of one story, and told in one list. Caches know the segments of a story by its id as well."""

_IN_FLIGHT: Final = 120 * 1_000_000
"""How long, in microseconds, calls of a run may still end in a cache after the run was stopped."""

_STORY: Final = "SELECT id, owner, child_id, state, end_time FROM stories"


def delete_story(connection: sqlite3.Connection, owner: str, story_id: str, now: int) -> Removed:
    """Removes one story; STORY_NOT_FOUND."""
    row = connection.execute(f"{_STORY} WHERE id = ? AND owner = ?", (story_id, owner)).fetchone()
    if row is None:
        raise story_not_found(story_id)
    return _remove(connection, row, now)


def erase_child(connection: sqlite3.Connection, owner: str, child_id: str, most: int, now: int) -> Erased:
    """Removes a child and at most `most` of its stories; CHILD_NOT_FOUND where nothing is left to do."""
    gone = connection.execute(
        "DELETE FROM profiles WHERE id = ? AND owner = ? AND kind = 1 RETURNING id", (child_id, owner)
    ).fetchall()
    if gone:
        bury(connection, owner, child_id, now)
        note_removal(connection)
    rows = connection.execute(
        f"{_STORY} WHERE owner = ? AND child_id = ? ORDER BY create_time, id LIMIT ?",
        (owner, child_id, most + 1),
    ).fetchall()
    for row in rows[:most]:
        _remove(connection, row, now)
    left = connection.execute(
        "SELECT story_id, object_ids, forgotten FROM removals WHERE owner = ? AND child_id = ?"
        " AND (object_ids <> '' OR NOT forgotten)",
        (owner, child_id),
    ).fetchall()
    if not (gone or rows or left or (is_deleted(connection, owner, child_id) and removed_count(connection))):
        raise child_not_found(child_id)
    return Erased(len(rows[:most]), _keys(left), more=len(rows) > most)


def expire_stories(connection: sqlite3.Connection, before: int, most: int, now: int) -> Sequence[Removed]:
    """Removes at most `most` stories that were accepted before a time and are not being made, oldest first."""
    rows = connection.execute(
        f"{_STORY} WHERE state IN (4, 5, 6, 7) AND create_time < ? ORDER BY create_time, id LIMIT ?",
        (before, most),
    ).fetchall()
    return [_remove(connection, row, now) for row in rows]


def files_to_remove(connection: sqlite3.Connection, most: int) -> Sequence[AudioKey]:
    """Files of removed stories that may still be there."""
    rows = connection.execute("SELECT story_id, object_ids FROM removals WHERE object_ids <> '' LIMIT ?", (most,))
    return _keys(rows.fetchall())


def files_removed(connection: sqlite3.Connection, story_ids: Collection[str]) -> None:
    """Notes that the files of removed stories are gone."""
    ids = [(story_id,) for story_id in story_ids]
    connection.executemany("UPDATE removals SET object_ids = '' WHERE story_id = ?", ids)
    connection.executemany(
        "DELETE FROM removals WHERE story_id = ? AND forgotten AND object_ids = '' AND again_time IS NULL", ids
    )


def list_forgettable(
    connection: sqlite3.Connection, owner: str, child_id: str, most: int, now: int
) -> Sequence[storage_pb2.ForgettableStory]:
    """Removed stories that caches are to forget now, oldest first: of one child, or with "" of anybody."""
    chosen, values = (" AND owner = ? AND child_id = ?", [owner, child_id]) if child_id else ("", [])
    rows = connection.execute(
        "SELECT story_id, segment_sha256, audio_count FROM removals"  # noqa: S608 - our own term
        f" WHERE (NOT forgotten OR again_time <= ?){chosen} ORDER BY story_id LIMIT ?",
        (now, *values, most),
    )
    listed: list[storage_pb2.ForgettableStory] = []
    room = MAX_HASHES
    for row in rows:
        joined = row["segment_sha256"]
        hashes = [joined[start : start + 32] for start in range(0, len(joined), 32)]
        if len(hashes) > room:
            break
        room -= len(hashes)
        listed.append(
            storage_pb2.ForgettableStory(
                story_id=row["story_id"], segment_sha256=hashes, audio_count=row["audio_count"]
            )
        )
    return listed


def confirm_forgotten(connection: sqlite3.Connection, story_ids: Collection[str], now: int) -> None:
    """Notes that caches have forgotten stories."""
    ids = [(story_id, now) for story_id in story_ids]
    connection.executemany(
        "UPDATE removals SET forgotten = 1, again_time = CASE WHEN again_time > ?2 THEN again_time END"
        " WHERE story_id = ?1",
        ids,
    )
    connection.executemany(
        "DELETE FROM removals WHERE story_id = ? AND object_ids = '' AND again_time IS NULL",
        [(story_id,) for story_id in story_ids],
    )


def _remove(connection: sqlite3.Connection, row: sqlite3.Row, now: int) -> Removed:
    """Removes a story with all that hangs on it.

    The token of its run is gone with it, so whatever the run still sends is refused.
    """
    story_id = row["id"]
    hashes = [
        found["sha256"]
        for found in connection.execute(
            "SELECT DISTINCT sha256 FROM story_segments WHERE story_id = ? LIMIT ?", (story_id, MAX_HASHES)
        )
    ]
    object_ids = [
        found["object_id"]
        for found in connection.execute("SELECT object_id FROM story_audio WHERE story_id = ?", (story_id,))
    ]
    # A run may have stopped (or been stopped) a moment ago with calls in flight.
    lately = not states.is_final(row["state"]) or (row["end_time"] or 0) > now - _IN_FLIGHT
    leave(connection, story_id)
    connection.execute("DELETE FROM stories WHERE id = ?", (story_id,))
    bury(connection, row["owner"], story_id, now)
    connection.execute(
        "INSERT INTO removals (story_id, owner, child_id, segment_sha256, audio_count, object_ids, again_time)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            story_id,
            row["owner"],
            row["child_id"],
            b"".join(hashes),
            len(object_ids),
            ",".join(object_ids),
            now + _IN_FLIGHT if lately else None,
        ),
    )
    note_removal(connection)
    return Removed(story_id, hashes, [AudioKey(story_id, object_id) for object_id in object_ids])


def _keys(rows: Sequence[sqlite3.Row]) -> list[AudioKey]:
    return [
        AudioKey(row["story_id"], object_id) for row in rows for object_id in row["object_ids"].split(",") if object_id
    ]
