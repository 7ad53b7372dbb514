"""The ProfileStore in SQLite."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from servicekit.errors import resource_not_found
from servicekit.ids import new_id
from storage_service.embedded.database import SqliteStore, Transaction, reading, writing
from storage_service.embedded.history import find_request, leave_tombstone, store_request
from storage_service.errors import revision_mismatch
from storage_service.messages import changed_profile, profile_body
from storage_service.records import SCAN_PAGE, OwnedProfile, Position, Profile, RepeatKey
from tale.common.v1 import common_pb2

_MESSAGES: Final[Mapping[int, type[Any]]] = {1: common_pb2.Child, 2: common_pb2.Hero}
_KINDS: Final[Mapping[type, int]] = {message: kind for kind, message in _MESSAGES.items()}


def _create(tx: Transaction, owner: str, profile: Profile, repeat: RepeatKey | None) -> Profile:
    kind = type(profile)
    rpc = f"Create{kind.DESCRIPTOR.name}"
    known = find_request(tx, owner, rpc, repeat)
    if known is not None:
        return load_profile(tx, owner, kind, known)
    profile_id = new_id()
    store_request(tx, owner, rpc, repeat, profile_id)
    tx.execute(
        "INSERT INTO profiles (id, owner, kind, create_time, update_time, profile) VALUES (?, ?, ?, ?, ?, ?)",
        (profile_id, owner, _KINDS[kind], tx.now, tx.now, profile_body(profile)),
    )
    return load_profile(tx, owner, kind, profile_id)


def load_profile(tx: Transaction, owner: str, kind: type[Profile], profile_id: str) -> Profile:
    """Returns a stored profile; CHILD_NOT_FOUND, HERO_NOT_FOUND."""
    row = tx.execute(
        "SELECT * FROM profiles WHERE id = ? AND owner = ? AND kind = ?", (profile_id, owner, _KINDS[kind])
    ).fetchone()
    if row is None:
        raise resource_not_found(kind.DESCRIPTOR.name.lower(), profile_id)
    return _to_profile(kind, row)


def _list_page(
    tx: Transaction, owner: str, kind: type[Profile], *, limit: int, after: Position | None
) -> Sequence[Profile]:
    values: list[str | int] = [owner, _KINDS[kind]]
    behind = ""
    if after is not None:
        behind = " AND (create_time, id) < (?, ?)"
        values += [after.create_time, after.resource_id]
    rows = tx.execute(
        f"SELECT * FROM profiles WHERE owner = ? AND kind = ?{behind}"  # noqa: S608 - a constant
        " ORDER BY create_time DESC, id DESC LIMIT ?",
        (*values, limit),
    )
    return [_to_profile(kind, row) for row in rows]


def _update(
    tx: Transaction, owner: str, change: Profile, fields: Collection[str], *, expected_revision: int | None
) -> Profile:
    stored = load_profile(tx, owner, type(change), change.id)
    if expected_revision is not None and stored.revision != expected_revision:
        raise revision_mismatch(expected=expected_revision, actual=stored.revision)
    changed = changed_profile(stored, change, fields)
    if changed == stored:
        return stored
    tx.execute(
        "UPDATE profiles SET profile = ?, revision = revision + 1, update_time = ? WHERE id = ?",
        (profile_body(changed), tx.now, change.id),
    )
    return load_profile(tx, owner, type(change), change.id)


def _delete(tx: Transaction, owner: str, kind: type[Profile], profile_id: str) -> None:
    load_profile(tx, owner, kind, profile_id)
    tx.execute("DELETE FROM profiles WHERE id = ?", (profile_id,))
    leave_tombstone(tx, owner, profile_id)


def _to_profile(kind: type[Profile], row: sqlite3.Row) -> Profile:
    profile = kind.FromString(row["profile"])
    profile.id = row["id"]
    profile.revision = row["revision"]
    profile.create_time.FromMicroseconds(row["create_time"])
    profile.update_time.FromMicroseconds(row["update_time"])
    return profile


def _scan(tx: Transaction, after: str) -> Sequence[OwnedProfile]:
    rows = tx.execute("SELECT * FROM profiles WHERE id > ? ORDER BY id LIMIT ?", (after, SCAN_PAGE))
    return [OwnedProfile(row["owner"], _to_profile(_MESSAGES[row["kind"]], row)) for row in rows]


def _restore(tx: Transaction, profiles: Sequence[OwnedProfile]) -> int:
    rows = [
        (
            one.profile.id,
            one.owner,
            _KINDS[type(one.profile)],
            one.profile.revision,
            one.profile.create_time.ToMicroseconds(),
            one.profile.update_time.ToMicroseconds(),
            profile_body(one.profile),
        )
        for one in profiles
    ]
    return tx.executemany(
        "INSERT OR IGNORE INTO profiles (id, owner, kind, revision, create_time, update_time, profile)"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE resource_id = ?1)",
        rows,
    ).rowcount


class SqliteProfileStore(SqliteStore):
    """Stores children and heroes in a database of SQLite; see ProfileStore for the methods."""

    create = writing(_create)
    get = reading(load_profile)
    list_page = reading(_list_page)
    update = writing(_update)
    delete = writing(_delete)
    scan = reading(_scan)
    restore = writing(_restore)
