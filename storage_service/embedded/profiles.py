"""The ProfileStore in SQLite."""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Final

from servicekit.ids import new_id
from storage_service.embedded.database import SqliteStore, Transaction, reading, writing
from storage_service.embedded.repeating import bury, find_request, keep_request
from storage_service.errors import resource_not_found, revision_mismatch
from storage_service.records import Position, Profile, RepeatKey
from tale.common.v1 import common_pb2

_KINDS: Final[dict[type, int]] = {common_pb2.Child: 1, common_pb2.Hero: 2}
_SET_BY_US: Final = ("id", "create_time", "update_time", "revision")


def _create(tx: Transaction, owner: str, profile: Profile, repeat: RepeatKey | None) -> Profile:
    kind = type(profile)
    rpc = f"Create{kind.DESCRIPTOR.name}"
    known = find_request(tx, owner, rpc, repeat)
    if known is not None:
        return load_profile(tx, owner, kind, known)
    profile_id = new_id()
    keep_request(tx, owner, rpc, repeat, profile_id)
    tx.execute(
        "INSERT INTO profiles (id, owner, kind, create_time, update_time, profile) VALUES (?, ?, ?, ?, ?, ?)",
        (profile_id, owner, _KINDS[kind], tx.now, tx.now, _bare(profile).SerializeToString()),
    )
    return load_profile(tx, owner, kind, profile_id)


def load_profile(tx: Transaction, owner: str, kind: type[Profile], profile_id: str) -> Profile:
    """A profile as kept; CHILD_NOT_FOUND, HERO_NOT_FOUND."""
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
        f"SELECT * FROM profiles WHERE owner = ? AND kind = ?{behind}"  # noqa: S608 - our own term
        " ORDER BY create_time DESC, id DESC LIMIT ?",
        (*values, limit),
    )
    return [_to_profile(kind, row) for row in rows]


def _update(
    tx: Transaction, owner: str, change: Profile, fields: Collection[str], *, expected_revision: int | None
) -> Profile:
    kept = load_profile(tx, owner, type(change), change.id)
    if expected_revision is not None and kept.revision != expected_revision:
        raise revision_mismatch(expected=expected_revision, actual=kept.revision)
    changed = type(change)()
    changed.CopyFrom(kept)
    given = type(change)()
    given.CopyFrom(change)
    for field in change.DESCRIPTOR.fields_by_name:
        # Of each message only what is taken over is left.
        (changed if field in fields else given).ClearField(field)  # type: ignore[arg-type]  # a name of its descriptor
    changed.MergeFrom(given)
    if changed == kept:
        return kept
    tx.execute(
        "UPDATE profiles SET profile = ?, revision = revision + 1, update_time = ? WHERE id = ?",
        (_bare(changed).SerializeToString(), tx.now, change.id),
    )
    return load_profile(tx, owner, type(change), change.id)


def _delete(tx: Transaction, owner: str, kind: type[Profile], profile_id: str) -> None:
    load_profile(tx, owner, kind, profile_id)
    tx.execute("DELETE FROM profiles WHERE id = ?", (profile_id,))
    bury(tx, owner, profile_id)


def _bare(profile: Profile) -> Profile:
    bare = type(profile)()
    bare.CopyFrom(profile)
    for field in _SET_BY_US:
        bare.ClearField(field)  # type: ignore[arg-type]  # both messages have them
    return bare


def _to_profile(kind: type[Profile], row: sqlite3.Row) -> Profile:
    profile = kind.FromString(row["profile"])
    profile.id = row["id"]
    profile.revision = row["revision"]
    profile.create_time.FromMicroseconds(row["create_time"])
    profile.update_time.FromMicroseconds(row["update_time"])
    return profile


class SqliteProfileStore(SqliteStore):
    """Stores children and heroes in a database of SQLite; see ProfileStore for the methods."""

    create = writing(_create)
    get = reading(load_profile)
    list_page = reading(_list_page)
    update = writing(_update)
    delete = writing(_delete)
