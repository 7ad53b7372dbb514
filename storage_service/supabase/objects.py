"""Objects as the schema names them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from storage_service.records import ObjectKey, ObjectKind


def to_keys(rows: Sequence[Mapping[str, Any]]) -> list[ObjectKey]:
    """Returns the keys of objects that a function of the schema names."""
    return [ObjectKey(ObjectKind(row["kind"]), row["object_id"]) for row in rows]


def from_keys(keys: Collection[ObjectKey]) -> list[dict[str, str]]:
    """Returns objects as functions of the schema take them."""
    return [{"kind": key.kind.value, "object_id": key.object_id} for key in keys]
