"""Changes by others than the run: rating, cancelling, trying again, narrating again."""

import sqlite3
from typing import Final

from storage_service import states
from storage_service.embedded.indexing import enter, leave
from storage_service.embedded.leasing import take_lease
from storage_service.embedded.ledger import end_attempts
from storage_service.embedded.repeating import find_request, keep_request
from storage_service.embedded.rows import load_facts
from storage_service.errors import revision_mismatch, story_not_found
from storage_service.records import Cancel, Change, Lease, Narrate, Rate, RepeatKey, Retry
from tale.common.v1 import common_pb2

_BEGIN_AGAIN: Final = """
UPDATE stories SET
    state = ?, revision = revision + 1, update_time = ?, end_time = NULL,
    lease_expire_time = NULL, start_time = NULL, pickup_count = 0, handed_over = 0
WHERE id = ?
"""


def update_story(
    connection: sqlite3.Connection, owner: str, story_id: str, change: Change, expected_revision: int | None, now: int
) -> bool:
    """Makes a change; False when it had been made before."""
    row = _own(connection, owner, story_id, change)
    match change:
        case Retry(repeat=RepeatKey()) | Narrate(repeat=RepeatKey()):
            if find_request(connection, owner, type(change).__name__, change.repeat, story_id) is not None:
                return False
        case Cancel() if row["state"] == states.CANCELLED:
            return False
    if expected_revision is not None and row["revision"] != expected_revision:
        raise revision_mismatch(expected=expected_revision, actual=row["revision"])
    states.check_change(change, row["state"])
    match change:
        case Rate(rating):
            return _rate(connection, story_id, rating, row["rating"], now)
        case Cancel():
            _cancel(connection, story_id, now)
        case Retry(repeat, lease):
            keep_request(connection, owner, "Retry", repeat, story_id, now)
            # One whose text is not whole is not found until it is.
            leave(connection, story_id)
            connection.execute(_BEGIN_AGAIN, (states.PENDING, now, story_id))
            enter(connection, story_id)
            _take(connection, story_id, lease, now)
        case Narrate(voice, repeat, lease):
            keep_request(connection, owner, "Narrate", repeat, story_id, now)
            connection.execute(_BEGIN_AGAIN, (states.NARRATING, now, story_id))
            _close_manifest(connection, story_id, voice)
            _take(connection, story_id, lease, now)
    return True


def _own(connection: sqlite3.Connection, owner: str, story_id: str, change: Change | None) -> sqlite3.Row:
    mine = connection.execute("SELECT 1 FROM stories WHERE id = ? AND owner = ?", (story_id, owner)).fetchone()
    found = load_facts(connection, story_id) if mine else None
    if found is None:
        if isinstance(change, Retry | Narrate):
            # A repeated request learns that its story is gone.
            find_request(connection, owner, type(change).__name__, change.repeat, story_id)
        raise story_not_found(story_id)
    return found[1]


def _rate(connection: sqlite3.Connection, story_id: str, rating: int, before: int | None, now: int) -> bool:
    if rating == before:
        return False
    connection.execute(
        "UPDATE stories SET rating = ?, revision = revision + 1, update_time = ? WHERE id = ?", (rating, now, story_id)
    )
    return True


def _cancel(connection: sqlite3.Connection, story_id: str, now: int) -> None:
    # A finished story that is only narrated again goes back to what it was, with its text and its audio.
    told = connection.execute(
        "SELECT 1 FROM stories JOIN story_audio ON story_audio.story_id = stories.id WHERE id = ? AND state = ?",
        (story_id, states.NARRATING),
    ).fetchone()
    leave(connection, story_id)
    connection.execute(
        "UPDATE stories SET state = ?, revision = revision + 1, update_time = ?, end_time = ?,"
        " lease_expire_time = NULL WHERE id = ?",
        (states.READY if told else states.CANCELLED, now, now, story_id),
    )
    enter(connection, story_id)
    end_attempts(connection, story_id, now)


def _close_manifest(connection: sqlite3.Connection, story_id: str, voice: common_pb2.VoiceSelection) -> None:
    """Deletes the manifest of the run, but not the one that the stored audio came from."""
    connection.execute(
        "DELETE FROM story_segments WHERE story_id = ?1"
        " AND audio_id NOT IN (SELECT audio_id FROM story_audio WHERE story_id = ?1)",
        (story_id,),
    )
    connection.execute(
        "UPDATE stories SET narrate = 1, narration = NULL, narration_audio_id = '', segment_count = 0, text_end = 0,"
        " audio_end = 0 WHERE id = ?",
        (story_id,),
    )
    connection.execute("UPDATE story_bodies SET voice = ? WHERE story_id = ?", (voice.SerializeToString(), story_id))


def _take(connection: sqlite3.Connection, story_id: str, lease: Lease | None, now: int) -> None:
    if lease is not None:
        take_lease(connection, story_id, lease, now)
