"""Children and heroes as rows. Columns are named like the fields of their messages."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from storage_service.records import Profile
from storage_service.supabase.wire import to_name, to_timestamp
from tale.common.v1 import common_pb2

SET_BY_US: Final = frozenset({"id", "create_time", "update_time", "revision"})
"""Fields that the store sets."""

_GENDER: Final = "GENDER_"


def kind_of(kind: type[Profile]) -> str:
    """What the functions of the schema call a kind of profile."""
    return "child" if kind is common_pb2.Child else "hero"


def to_profile(kind: type[Profile], row: Mapping[str, Any]) -> Profile:
    """A row as a message."""
    profile = kind(id=row["id"], revision=row["revision"])
    for name, field in kind.DESCRIPTOR.fields_by_name.items():
        value = row.get(name)
        if name in SET_BY_US or value is None:
            continue
        if field.is_repeated:
            getattr(profile, name).extend(value)
        else:
            setattr(profile, name, common_pb2.Gender.Value(_GENDER + value) if name == "gender" else value)
    profile.create_time.CopyFrom(to_timestamp(row["created_at"]))
    profile.update_time.CopyFrom(to_timestamp(row["updated_at"]))
    return profile


def from_profile(profile: common_pb2.Child | common_pb2.Hero, fields: Collection[str] | None = None) -> dict[str, Any]:
    """Returns the columns of a message: those named by `fields`, or all; an unset number with presence is null."""
    columns = {}
    for name, field in profile.DESCRIPTOR.fields_by_name.items():
        if name not in SET_BY_US and (fields is None or name in fields):
            columns[name] = _column(profile, name, field)
    return columns


def _column(profile: common_pb2.Child | common_pb2.Hero, name: str, field: FieldDescriptor) -> Any:
    value = getattr(profile, name)
    if field.is_repeated:
        return list(value)
    if field.has_presence and not profile.HasField(name):  # type: ignore[arg-type]  # a name of its descriptor
        return None
    return to_name(common_pb2.Gender.Name, value, _GENDER) if name == "gender" else value
