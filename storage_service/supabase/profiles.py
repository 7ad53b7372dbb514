"""The ProfileStore in Supabase. Columns are named like the fields of Child and Hero."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from servicekit.ids import new_id
from storage_service.records import Position, Profile, RepeatKey
from storage_service.supabase.connection import SupabaseStore
from storage_service.supabase.wire import from_position, from_repeat, to_name, to_timestamp
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


class SupabaseProfileStore(SupabaseStore):
    """Stores children and heroes in the schema `tales`; see ProfileStore for the methods."""

    async def create(self, owner: str, profile: Profile, repeat: RepeatKey | None) -> Profile:
        """Stores a profile, or finds the stored one."""
        kind = type(profile)
        # Made here, so that the call can be repeated.
        profile_id = new_id()
        answer = await self._connection.timed_rpc(
            "create_profile",
            profile_id,
            noun=kind_of(kind),
            owner=owner,
            kind=kind_of(kind),
            id=profile_id,
            profile=from_profile(profile),
            request=from_repeat(f"Create{kind.DESCRIPTOR.name}", repeat),
        )
        return to_profile(kind, answer)

    async def get(self, owner: str, kind: type[Profile], profile_id: str) -> Profile:
        """A profile."""
        answer = await self._connection.rpc(
            "get_profile", profile_id, noun=kind_of(kind), owner=owner, kind=kind_of(kind), id=profile_id
        )
        return to_profile(kind, answer)

    async def list_page(
        self, owner: str, kind: type[Profile], *, limit: int, after: Position | None
    ) -> Sequence[Profile]:
        """A page of profiles."""
        page = await self._connection.rpc(
            "list_profiles", owner=owner, kind=kind_of(kind), limit=limit, after=from_position(after)
        )
        return [to_profile(kind, row) for row in page]

    async def update(
        self, owner: str, change: Profile, fields: Collection[str], *, expected_revision: int | None
    ) -> Profile:
        """Changes a profile."""
        kind = type(change)
        answer = await self._connection.timed_rpc(
            "update_profile",
            change.id,
            noun=kind_of(kind),
            safe=expected_revision is None,
            owner=owner,
            kind=kind_of(kind),
            id=change.id,
            change=from_profile(change, fields),
            expected_revision=expected_revision,
        )
        return to_profile(kind, answer)

    async def delete(self, owner: str, kind: type[Profile], profile_id: str) -> None:
        """Removes a profile."""
        await self._connection.timed_rpc(
            "delete_profile", profile_id, noun=kind_of(kind), safe=False, owner=owner, kind=kind_of(kind), id=profile_id
        )
