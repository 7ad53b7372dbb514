"""The ProfileStore in Supabase."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from google.protobuf.message import Message

from servicekit.errors import DomainError
from servicekit.ids import new_id
from storage_service.errors import revision_mismatch
from storage_service.messages import changed_profile, profile_body
from storage_service.records import SCAN_PAGE, OwnedProfile, Position, Profile, RepeatKey
from storage_service.supabase.connection import SupabaseStore
from storage_service.supabase.rows import from_position, from_repeat, to_base64, to_hex, to_profile, to_text
from tale.common.v1 import common_pb2

_KINDS: Final = {"child": common_pb2.Child, "hero": common_pb2.Hero}
_UPDATE_ATTEMPTS: Final = 10


def kind_of(kind: type[Message]) -> str:
    """Returns what the schema calls a kind of profile: the noun of its errors."""
    return str(kind.DESCRIPTOR.name).lower()


def _given(profile: common_pb2.Child | common_pb2.Hero) -> dict[str, str]:
    return {"name": to_text(profile.name), "profile": to_base64(profile_body(profile))}


class SupabaseProfileStore(SupabaseStore):
    """Stores children and heroes in the schema `tales`; see ProfileStore for the methods."""

    async def create(self, owner: str, profile: Profile, repeat: RepeatKey | None) -> Profile:
        """Stores a profile, or finds the stored one."""
        kind = type(profile)
        # Made here, so that the call can be repeated.
        profile_id = new_id()
        request = from_repeat(f"Create{kind.DESCRIPTOR.name}", repeat)
        return to_profile(
            kind, await self._timed_rpc("create_profile", owner, kind, profile_id, request=request, **_given(profile))
        )

    async def get(self, owner: str, kind: type[Profile], profile_id: str) -> Profile:
        """Returns a profile."""
        noun = kind_of(kind)
        return to_profile(
            kind,
            await self._connection.rpc("get_profile", profile_id, noun=noun, owner=owner, kind=noun, id=profile_id),
        )

    async def list_page(
        self, owner: str, kind: type[Profile], *, limit: int, after: Position | None
    ) -> Sequence[Profile]:
        """Returns a page of profiles."""
        page = await self._connection.rpc(
            "list_profiles", owner=owner, kind=kind_of(kind), limit=limit, after=from_position(after)
        )
        return [to_profile(kind, row) for row in page]

    async def update(
        self, owner: str, change: Profile, fields: Collection[str], *, expected_revision: int | None
    ) -> Profile:
        """Changes a profile: reads it, and replaces it while it still has the revision that was read."""
        kind = type(change)
        for left in reversed(range(_UPDATE_ATTEMPTS)):
            stored = await self.get(owner, kind, change.id)
            if expected_revision is not None and stored.revision != expected_revision:
                raise revision_mismatch(expected=expected_revision, actual=stored.revision)
            changed = changed_profile(stored, change, fields)
            if changed == stored:
                break
            given = {"safe": expected_revision is None, "revision": stored.revision, **_given(changed)}
            try:
                return to_profile(kind, await self._timed_rpc("update_profile", owner, kind, change.id, **given))
            except DomainError as error:
                # Another change came first; one that names no revision is made on top of it.
                if error.reason != "REVISION_MISMATCH" or expected_revision is not None or not left:
                    raise
        return stored

    async def delete(self, owner: str, kind: type[Profile], profile_id: str) -> None:
        """Removes a profile."""
        await self._timed_rpc("delete_profile", owner, kind, profile_id, safe=False)

    async def scan(self, after: str) -> Sequence[OwnedProfile]:
        """Returns profiles of all owners, by id."""
        page = await self._connection.rpc(
            "scan_rows", table="profiles", after={"id": after} if after else None, most=SCAN_PAGE
        )
        return [OwnedProfile(row["owner"], to_profile(_KINDS[row["kind"]], row)) for row in page]

    async def restore(self, profiles: Sequence[OwnedProfile]) -> int:
        """Stores profiles that are not known."""
        return int(await self._connection.rpc("restore_rows", table="profiles", rows=[_row(one) for one in profiles]))

    async def _timed_rpc(self, function: str, owner: str, kind: type[Profile], profile_id: str, **params: Any) -> Any:
        noun = kind_of(kind)
        return await self._connection.timed_rpc(
            function, profile_id, noun=noun, owner=owner, kind=noun, id=profile_id, **params
        )


def _row(owned: OwnedProfile) -> dict[str, Any]:
    profile = owned.profile
    return {
        "id": profile.id,
        "owner": owned.owner,
        "kind": kind_of(type(profile)),
        "revision": profile.revision,
        "created_at": profile.create_time.ToJsonString(),
        "updated_at": profile.update_time.ToJsonString(),
        "name": to_text(profile.name),
        "profile": to_hex(profile_body(profile)),
    }
