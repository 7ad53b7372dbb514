"""Requests that can be repeated, and tombstones of what was deleted."""

import json
from collections.abc import Collection, Sequence
from typing import Final

from storage_service.embedded.database import SqliteStore, Transaction, reading, writing
from storage_service.errors import request_id_reused, resource_deleted
from storage_service.records import SCAN_PAGE, RepeatKey, StoredRequest, Tombstone

ERASED: Final = bytes(32)
"""Replaces the fingerprint of a request whose content must not be guessed from its hash."""

_MADE_BY: Final = {"CreateChild": "child", "CreateHero": "hero"}


def find_request(
    tx: Transaction, owner: str, rpc: str, repeat: RepeatKey | None, resource_id: str | None = None
) -> str | None:
    """Returns the id of what a repeated request was about, None for a new request.

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
    same = row["fingerprint"] in {repeat.fingerprint, ERASED}
    if row["rpc"] != rpc or not same or resource_id not in {None, known}:
        raise request_id_reused()
    if is_deleted(tx, owner, known):
        raise resource_deleted(_MADE_BY.get(rpc, "story"), known)
    return known


def store_request(tx: Transaction, owner: str, rpc: str, repeat: RepeatKey | None, resource_id: str) -> None:
    """Stores a request that can be repeated."""
    if repeat is not None:
        tx.execute(
            "INSERT INTO requests (owner, request_id, rpc, fingerprint, resource_id, create_time)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (owner, repeat.request_id, rpc, repeat.fingerprint, resource_id, tx.now),
        )


def leave_tombstone(tx: Transaction, owner: str, resource_id: str) -> None:
    """Leaves a tombstone: an id, its owner, the time of deletion, and nothing else.

    The content of requests is erased: a hash of a name and a wish is guessed from a list of names. So each of their
    ids then answers that its story is deleted, whatever comes with it.
    """
    tx.execute(
        "INSERT INTO tombstones (resource_id, owner, delete_time) VALUES (?, ?, ?)", (resource_id, owner, tx.now)
    )
    tx.execute("UPDATE requests SET fingerprint = ? WHERE resource_id = ? AND owner = ?", (ERASED, resource_id, owner))
    # The file holds something to scrub now.
    tx.execute("UPDATE housekeeping SET removed_count = removed_count + 1")


def is_deleted(tx: Transaction, owner: str, resource_id: str) -> bool:
    """Returns True where there is a tombstone."""
    found = tx.execute("SELECT 1 FROM tombstones WHERE resource_id = ? AND owner = ?", (resource_id, owner))
    return found.fetchone() is not None


def _scan_requests(tx: Transaction, after: StoredRequest | None) -> Sequence[StoredRequest]:
    rows = tx.execute(
        "SELECT owner, request_id, rpc, fingerprint, resource_id, create_time FROM requests"
        " WHERE (owner, request_id) > (?, ?) ORDER BY owner, request_id LIMIT ?",
        (*(after[:2] if after else ("", "")), SCAN_PAGE),
    )
    return [StoredRequest(*row) for row in rows]


def _scan_tombstones(tx: Transaction, after: Tombstone | None) -> Sequence[Tombstone]:
    rows = tx.execute(
        "SELECT resource_id, owner, delete_time FROM tombstones WHERE resource_id > ? ORDER BY resource_id LIMIT ?",
        (after.resource_id if after else "", SCAN_PAGE),
    )
    return [Tombstone(*row) for row in rows]


def _known_stories(tx: Transaction, story_ids: Collection[str]) -> frozenset[str]:
    rows = tx.execute(
        "SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM stories WHERE id = value)"
        " OR EXISTS (SELECT 1 FROM tombstones WHERE resource_id = value)",
        (json.dumps(list(story_ids)),),
    )
    return frozenset(row["value"] for row in rows)


def _restore(tx: Transaction, requests: Sequence[StoredRequest], tombstones: Sequence[Tombstone]) -> int:
    stored = "INSERT OR IGNORE INTO requests (owner, request_id, rpc, fingerprint, resource_id, create_time)"
    count = tx.executemany(f"{stored} VALUES (?, ?, ?, ?, ?, ?)", requests).rowcount if requests else 0
    if tombstones:
        count += tx.executemany(
            "INSERT OR IGNORE INTO tombstones (resource_id, owner, delete_time) SELECT ?1, ?2, ?3"
            " WHERE NOT EXISTS (SELECT 1 FROM stories WHERE id = ?1)"
            " AND NOT EXISTS (SELECT 1 FROM profiles WHERE id = ?1)",
            tombstones,
        ).rowcount
    return count


class SqliteHistoryStore(SqliteStore):
    """Stores requests and tombstones in a database of SQLite; see HistoryStore for the methods."""

    scan_requests = reading(_scan_requests)
    scan_tombstones = reading(_scan_tombstones)
    known_stories = reading(_known_stories)
    restore = writing(_restore)
