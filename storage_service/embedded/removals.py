"""The RemovalStore in SQLite: removes stories and children for good."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from servicekit.errors import resource_not_found
from storage_service.embedded.audio import remove_unused, to_keys
from storage_service.embedded.database import SqliteStore, Transaction, removing
from storage_service.embedded.history import is_deleted, leave_tombstone
from storage_service.embedded.search import leave
from storage_service.errors import story_not_found
from storage_service.records import ObjectKey, RemovalResult

_STORY: Final = "SELECT id, owner, child_id FROM stories"


def delete_story(tx: Transaction, owner: str, story_id: str) -> Sequence[ObjectKey]:
    """Removes one story; STORY_NOT_FOUND."""
    row = tx.execute(f"{_STORY} WHERE id = ? AND owner = ?", (story_id, owner)).fetchone()
    if row is None:
        raise story_not_found(story_id)
    return _remove(tx, row)


def _erase_child(tx: Transaction, owner: str, child_id: str) -> RemovalResult:
    left = to_keys(
        tx.execute(
            # Also what was replaced or evicted and could not be removed: nothing says whose that is.
            "SELECT object_id, kind FROM objects WHERE state <> 'STORED' AND state = 'DELETED' AND child_id IN (?, '')",
            (child_id,),
        )
    )
    gone = tx.execute(
        "DELETE FROM profiles WHERE id = ? AND owner = ? AND kind = 1 RETURNING id", (child_id, owner)
    ).fetchall()
    if gone:
        leave_tombstone(tx, owner, child_id)
    rows = tx.execute(f"{_STORY} WHERE owner = ? AND child_id = ?", (owner, child_id)).fetchall()
    if not (gone or rows or is_deleted(tx, owner, child_id)):
        raise resource_not_found("child", child_id)
    return RemovalResult(len(rows), [*left, *(key for row in rows for key in _remove(tx, row))])


def _expire(tx: Transaction, before: int, *, most: int) -> RemovalResult:
    rows = tx.execute(
        f"{_STORY} WHERE state IN (4, 5, 6, 7) AND create_time < ? ORDER BY create_time, id LIMIT ?",
        (before, most),
    ).fetchall()
    return RemovalResult(len(rows), [key for row in rows for key in _remove(tx, row)])


def _remove(tx: Transaction, row: sqlite3.Row) -> list[ObjectKey]:
    """Removes a story with its audio and the segments that no other story uses.

    The token of its run is gone with it, so whatever the run still sends is refused.
    """
    story_id = row["id"]
    used = [one["key"] for one in tx.execute("SELECT key FROM segment_uses WHERE story_id = ?", (story_id,))]
    audio = "SELECT object_id, 'audio' AS kind FROM story_audio WHERE story_id = ?"
    dropped = to_keys(tx.execute(audio, (story_id,)))
    leave(tx, story_id)
    tx.execute("DELETE FROM stories WHERE id = ?", (story_id,))
    leave_tombstone(tx, row["owner"], story_id)
    dropped += remove_unused(tx, used)
    tx.executemany(
        "UPDATE objects SET child_id = ? WHERE object_id = ?", [(row["child_id"], key.object_id) for key in dropped]
    )
    return dropped


class SqliteRemovalStore(SqliteStore):
    """Removes from a database of SQLite; see RemovalStore for the methods."""

    erase_child = removing(_erase_child)
    expire = removing(_expire)

    async def scrub(self) -> None:
        """Leaves nothing of what was removed in the file."""
        await self.database.scrub()
