"""Leases of stories."""

from collections.abc import Collection, Sequence
from typing import Final

from storage_service.embedded.transactions import Transaction
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


def take_lease(tx: Transaction, story_id: str, lease: Lease) -> storage_pb2.ClaimedStory:
    """Takes the lease of a story that is known to be free. The first claim and one after a hand-over do not count."""
    row = tx.execute(_TAKE, (tx.now + lease.duration, tx.now, story_id)).fetchone()
    return storage_pb2.ClaimedStory(
        story_id=row["id"], owner=row["owner"], lease_token=row["lease_token"], pickup_count=row["pickup_count"]
    )


def claim_stories(
    tx: Transaction, lease: Lease, *, most: int, story_ids: Collection[str]
) -> Sequence[storage_pb2.ClaimedStory]:
    """Takes the leases of unfinished stories that no run holds, oldest first."""
    chosen = f" AND id IN ({','.join('?' * len(story_ids))})" if story_ids else ""
    free = tx.execute(
        f"SELECT id FROM stories WHERE {_FREE}{chosen} ORDER BY create_time, id LIMIT ?",  # noqa: S608 - marks only
        (tx.now, *story_ids, most),
    ).fetchall()
    return [take_lease(tx, row["id"], lease) for row in free]


def release_stories(tx: Transaction, leases: Sequence[storage_pb2.HeldLease]) -> int:
    """Gives leases back for others to take at once; how many were held with the token given."""
    released = 0
    for lease in leases:
        cursor = tx.execute(
            "UPDATE stories SET lease_expire_time = NULL, handed_over = 1"
            " WHERE id = ? AND lease_token = ? AND lease_expire_time IS NOT NULL",
            (lease.story_id, lease.lease_token),
        )
        released += cursor.rowcount
    return released
