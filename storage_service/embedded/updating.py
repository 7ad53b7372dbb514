"""Changes by others than the run: rating, cancelling, trying again, narrating again; and leases."""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Final

from storage_service.embedded.checkpointing import end_attempts
from storage_service.embedded.database import Transaction
from storage_service.embedded.repeating import find_request, keep_request
from storage_service.embedded.rows import load_facts, load_record
from storage_service.embedded.searching import enter, leave
from storage_service.errors import revision_mismatch, story_not_found
from storage_service.records import Cancel, Change, Lease, Narrate, Rate, RepeatKey, Retry
from storage_service.stories import states
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_BEGIN_AGAIN: Final = """
UPDATE stories SET
    state = ?, revision = revision + 1, update_time = ?, end_time = NULL,
    lease_expire_time = NULL, start_time = NULL, pickup_count = 0, handed_over = 0
WHERE id = ?
"""

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


def update_story(
    tx: Transaction, owner: str, story_id: str, change: Change, *, expected_revision: int | None
) -> tuple[storage_pb2.StoryRecord, bool]:
    """Makes a change; the story, and False when it had been made before."""
    changed = _update(tx, owner, story_id, change, expected_revision)
    return load_record(tx, owner, story_id, full=False), changed


def _update(tx: Transaction, owner: str, story_id: str, change: Change, expected_revision: int | None) -> bool:
    row = _own(tx, owner, story_id, change)
    match change:
        case Retry(repeat=RepeatKey()) | Narrate(repeat=RepeatKey()):
            if find_request(tx, owner, type(change).__name__, change.repeat, story_id) is not None:
                return False
        case Cancel() if row["state"] == states.CANCELLED:
            return False
    if expected_revision is not None and row["revision"] != expected_revision:
        raise revision_mismatch(expected=expected_revision, actual=row["revision"])
    states.check_change(change, row["state"])
    match change:
        case Rate(rating):
            return _rate(tx, story_id, rating, row["rating"])
        case Cancel():
            _cancel(tx, story_id)
        case Retry(repeat, lease):
            keep_request(tx, owner, "Retry", repeat, story_id)
            # One whose text is not whole is not found until it is.
            leave(tx, story_id)
            tx.execute(_BEGIN_AGAIN, (states.PENDING, tx.now, story_id))
            enter(tx, story_id)
            _take(tx, story_id, lease)
        case Narrate(voice, repeat, lease):
            keep_request(tx, owner, "Narrate", repeat, story_id)
            tx.execute(_BEGIN_AGAIN, (states.NARRATING, tx.now, story_id))
            _close_manifest(tx, story_id, voice)
            _take(tx, story_id, lease)
    return True


def _own(tx: Transaction, owner: str, story_id: str, change: Change | None) -> sqlite3.Row:
    mine = tx.execute("SELECT 1 FROM stories WHERE id = ? AND owner = ?", (story_id, owner)).fetchone()
    found = load_facts(tx, story_id) if mine else None
    if found is None:
        if isinstance(change, Retry | Narrate):
            # A repeated request learns that its story is gone.
            find_request(tx, owner, type(change).__name__, change.repeat, story_id)
        raise story_not_found(story_id)
    return found[1]


def _rate(tx: Transaction, story_id: str, rating: int, before: int | None) -> bool:
    if rating == before:
        return False
    tx.execute(
        "UPDATE stories SET rating = ?, revision = revision + 1, update_time = ? WHERE id = ?",
        (rating, tx.now, story_id),
    )
    return True


def _cancel(tx: Transaction, story_id: str) -> None:
    # A finished story that is only narrated again goes back to what it was, with its text and its audio.
    told = tx.execute(
        "SELECT 1 FROM stories JOIN story_audio ON story_audio.story_id = stories.id WHERE id = ? AND state = ?",
        (story_id, states.NARRATING),
    ).fetchone()
    leave(tx, story_id)
    tx.execute(
        "UPDATE stories SET state = ?, revision = revision + 1, update_time = ?, end_time = ?,"
        " lease_expire_time = NULL WHERE id = ?",
        (states.READY if told else states.CANCELLED, tx.now, tx.now, story_id),
    )
    enter(tx, story_id)
    end_attempts(tx, story_id)


def _close_manifest(tx: Transaction, story_id: str, voice: common_pb2.VoiceSelection) -> None:
    """Deletes the manifest of the run, but not the one that the stored audio came from."""
    tx.execute(
        "DELETE FROM story_segments WHERE story_id = ?1"
        " AND audio_id NOT IN (SELECT audio_id FROM story_audio WHERE story_id = ?1)",
        (story_id,),
    )
    tx.execute(
        "UPDATE stories SET narrate = 1, narration = NULL, narration_audio_id = '', segment_count = 0, text_end = 0,"
        " audio_end = 0 WHERE id = ?",
        (story_id,),
    )
    tx.execute("UPDATE story_bodies SET voice = ? WHERE story_id = ?", (voice.SerializeToString(), story_id))


def _take(tx: Transaction, story_id: str, lease: Lease | None) -> None:
    if lease is not None:
        take_lease(tx, story_id, lease)


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
