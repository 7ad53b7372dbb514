"""Requests that come again, and what is left of things that are gone."""

from typing import Final

from storage_service.embedded.database import Transaction
from storage_service.errors import request_id_reused, resource_deleted
from storage_service.records import RepeatKey

FORGOTTEN: Final = bytes(32)
"""Stands for the fingerprint of a request whose content must not be guessed from its hash."""

_MADE_BY: Final = {"CreateChild": "child", "CreateHero": "hero"}


def find_request(
    tx: Transaction, owner: str, rpc: str, repeat: RepeatKey | None, resource_id: str | None = None
) -> str | None:
    """Id of what a request was about when it came before, None if it did not.

    Raises REQUEST_ID_REUSED when the id stood for anything else, and STORY_DELETED, CHILD_DELETED or HERO_DELETED.
    """
    if repeat is None:
        return None
    row = tx.execute(
        "SELECT rpc, fingerprint, resource_id FROM requests WHERE owner = ? AND request_id = ?",
        (owner, repeat.request_id),
    ).fetchone()
    if row is None:
        return None
    known: str = row["resource_id"]
    same = row["fingerprint"] in {repeat.fingerprint, FORGOTTEN}
    if row["rpc"] != rpc or not same or resource_id not in {None, known}:
        raise request_id_reused()
    if is_deleted(tx, owner, known):
        raise resource_deleted(_MADE_BY.get(rpc, "story"), known)
    return known


def keep_request(tx: Transaction, owner: str, rpc: str, repeat: RepeatKey | None, resource_id: str) -> None:
    """Remembers a request that can come again."""
    if repeat is not None:
        tx.execute(
            "INSERT INTO requests (owner, request_id, rpc, fingerprint, resource_id, create_time)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (owner, repeat.request_id, rpc, repeat.fingerprint, resource_id, tx.now),
        )


def bury(tx: Transaction, owner: str, resource_id: str) -> None:
    """Leaves a tombstone: an id, whose it was and when it went, and nothing else.

    What requests asked for is forgotten: a hash of a name and a wish is guessed from a list of names. So each of their
    ids then answers that its story is deleted, whatever comes with it.
    """
    tx.execute(
        "INSERT INTO tombstones (resource_id, owner, delete_time) VALUES (?, ?, ?)", (resource_id, owner, tx.now)
    )
    tx.execute(
        "UPDATE requests SET fingerprint = ? WHERE resource_id = ? AND owner = ?", (FORGOTTEN, resource_id, owner)
    )
    # The file holds something now that is to be scrubbed.
    tx.execute("UPDATE housekeeping SET removed_count = removed_count + 1")


def is_deleted(tx: Transaction, owner: str, resource_id: str) -> bool:
    """True where there is a tombstone."""
    found = tx.execute("SELECT 1 FROM tombstones WHERE resource_id = ? AND owner = ?", (resource_id, owner))
    return found.fetchone() is not None
