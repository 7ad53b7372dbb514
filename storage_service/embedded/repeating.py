"""Requests that come again, and what is left of things that are gone."""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Final

from servicekit.errors import DomainError
from storage_service.errors import child_deleted, hero_deleted, request_id_reused, story_deleted
from storage_service.records import RepeatKey

FORGOTTEN: Final = bytes(32)
"""Stands for the fingerprint of a request whose content must not be guessed from its hash."""

_DELETED: Final[Mapping[str, Callable[[str], DomainError]]] = {
    "CreateChild": child_deleted,
    "CreateHero": hero_deleted,
}


def find_request(
    connection: sqlite3.Connection, owner: str, rpc: str, repeat: RepeatKey | None, resource_id: str | None = None
) -> str | None:
    """Id of what a request was about when it came before, None if it did not.

    Raises REQUEST_ID_REUSED when the id stood for anything else, and STORY_DELETED, CHILD_DELETED or HERO_DELETED.
    """
    if repeat is None:
        return None
    row = connection.execute(
        "SELECT rpc, fingerprint, resource_id FROM requests WHERE owner = ? AND request_id = ?",
        (owner, repeat.request_id),
    ).fetchone()
    if row is None:
        return None
    known: str = row["resource_id"]
    same = row["fingerprint"] in {repeat.fingerprint, FORGOTTEN}
    if row["rpc"] != rpc or not same or resource_id not in {None, known}:
        raise request_id_reused()
    if is_deleted(connection, owner, known):
        raise _DELETED.get(rpc, story_deleted)(known)
    return known


def keep_request(
    connection: sqlite3.Connection, owner: str, rpc: str, repeat: RepeatKey | None, resource_id: str, now: int
) -> None:
    """Remembers a request that can come again."""
    if repeat is not None:
        connection.execute(
            "INSERT INTO requests (owner, request_id, rpc, fingerprint, resource_id, create_time)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (owner, repeat.request_id, rpc, repeat.fingerprint, resource_id, now),
        )


def bury(connection: sqlite3.Connection, owner: str, resource_id: str, now: int) -> None:
    """Leaves a tombstone: an id, whose it was and when it went, and nothing else.

    What requests asked for is forgotten: a hash of a name and a wish is guessed from a list of names. So each of their
    ids then answers that its story is deleted, whatever comes with it.
    """
    connection.execute(
        "INSERT INTO tombstones (resource_id, owner, delete_time) VALUES (?, ?, ?)", (resource_id, owner, now)
    )
    connection.execute(
        "UPDATE requests SET fingerprint = ? WHERE resource_id = ? AND owner = ?", (FORGOTTEN, resource_id, owner)
    )


def is_deleted(connection: sqlite3.Connection, owner: str, resource_id: str) -> bool:
    """True where there is a tombstone."""
    found = connection.execute("SELECT 1 FROM tombstones WHERE resource_id = ? AND owner = ?", (resource_id, owner))
    return found.fetchone() is not None
