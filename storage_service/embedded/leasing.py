"""Leases of stories."""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Final

from storage_service.records import Lease
from tale.storage.v1 import storage_pb2

_FREE: Final = "state IN (1, 2, 3) AND (lease_expire_time IS NULL OR lease_expire_time <= ?)"

_TAKE: Final = """
UPDATE stories SET
    lease_token = lease_token + 1,
    lease_expire_time = ?,
    pickup_count = pickup_count + (start_time IS NOT NULL AND NOT handed_over),
    handed_over = 0,
    start_time = coalesce(start_time, ?)
WHERE id = ?
RETURNING id, owner, lease_token, pickup_count
"""


def take_lease(connection: sqlite3.Connection, story_id: str, lease: Lease, now: int) -> storage_pb2.ClaimedStory:
    """Takes the lease of a story that is known to be free. The first claim and one after a hand-over do not count."""
    row = connection.execute(_TAKE, (now + lease.duration, now, story_id)).fetchone()
    return storage_pb2.ClaimedStory(
        story_id=row["id"], owner=row["owner"], lease_token=row["lease_token"], pickup_count=row["pickup_count"]
    )


def claim_stories(
    connection: sqlite3.Connection, lease: Lease, *, most: int, story_ids: Collection[str], now: int
) -> Sequence[storage_pb2.ClaimedStory]:
    """Takes the leases of unfinished stories that no run holds, oldest first."""
    chosen = f" AND id IN ({','.join('?' * len(story_ids))})" if story_ids else ""
    free = connection.execute(
        f"SELECT id FROM stories WHERE {_FREE}{chosen} ORDER BY create_time, id LIMIT ?",  # noqa: S608 - marks only
        (now, *story_ids, most),
    ).fetchall()
    return [take_lease(connection, row["id"], lease, now) for row in free]


def release_stories(connection: sqlite3.Connection, leases: Sequence[storage_pb2.HeldLease]) -> int:
    """Gives leases back for others to take at once; how many were held with the token given."""
    released = 0
    for lease in leases:
        cursor = connection.execute(
            "UPDATE stories SET lease_expire_time = NULL, handed_over = 1"
            " WHERE id = ? AND lease_token = ? AND lease_expire_time IS NOT NULL",
            (lease.story_id, lease.lease_token),
        )
        released += cursor.rowcount
    return released
