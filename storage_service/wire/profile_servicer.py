"""ProfileService on the wire: messages in, domain calls, messages out."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from google.protobuf.message import Message

from servicekit.context import current
from servicekit.errors import FieldViolation, validation_failed
from servicekit.ids import fingerprint
from servicekit.validation import DEFAULT_PAGE_SIZE, violations
from storage_service.ports import ProfileStore
from storage_service.records import Position, RepeatKey
from storage_service.wire.paging import page_of
from tale.common.v1 import common_pb2
from tale.profile.v1 import profile_pb2, profile_pb2_grpc

_WITHOUT_REQUEST_ID: Final = frozenset({"request_id"})

_SET_BY_SERVER: Final = frozenset({"id", "create_time", "update_time", "revision"})


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of profile: its message, and what many of them are called."""

    message: type[Any]
    plural: str

    @property
    def noun(self) -> str:
        """What one is called: the name of its field in messages."""
        return str(self.message.DESCRIPTOR.name).lower()

    @property
    def fields(self) -> Sequence[str]:
        """The fields that a caller may change, in the order of the contract."""
        return [field.name for field in self.message.DESCRIPTOR.fields if field.name not in _SET_BY_SERVER]


_CHILD: Final = _Kind(common_pb2.Child, "children")
_HERO: Final = _Kind(common_pb2.Hero, "heroes")

_Response: TypeAlias = Callable[..., Message]


def _creating(kind: _Kind, response: _Response) -> Any:
    async def create(self: "ProfileServicer", request: Any, context: object) -> Message:
        """Stores a profile."""
        del context
        key = fingerprint(request, without=_WITHOUT_REQUEST_ID)
        repeat = RepeatKey(request.request_id, key) if request.request_id else None
        profile = getattr(request, kind.noun)
        # No rule bounds them, and a page of profiles must fit into a response.
        profile.DiscardUnknownFields()
        stored = await self.profiles.create(current().owner, profile, repeat)
        return response(**{kind.noun: stored})

    return create


def _getting(kind: _Kind, response: _Response) -> Any:
    async def get(self: "ProfileServicer", request: Any, context: object) -> Message:
        """Returns a profile."""
        del context
        profile_id = _id_in(request, kind)
        return response(**{kind.noun: await self.profiles.get(current().owner, kind.message, profile_id)})

    return get


def _listing(kind: _Kind, response: _Response) -> Any:
    async def list_page(self: "ProfileServicer", request: Any, context: object) -> Message:
        """Lists profiles."""
        del context
        size, owner = request.page_size or DEFAULT_PAGE_SIZE, current().owner

        def load(limit: int, after: Position | None) -> Awaitable[Sequence[Any]]:
            return self.profiles.list_page(owner, kind.message, limit=limit, after=after)

        # The empty request says which list the tokens are good for.
        page, token = await page_of(owner, type(request)(), size, request.page_token, load)
        return response(**{kind.plural: page}, next_page_token=token)

    return list_page


def _updating(kind: _Kind, response: _Response) -> Any:
    async def update(self: "ProfileServicer", request: Any, context: object) -> Message:
        """Changes a profile."""
        del context
        change = getattr(request, kind.noun)
        fields = _fields_to_change(kind, request)
        revision = change.revision or None
        stored = await self.profiles.update(current().owner, change, fields, expected_revision=revision)
        return response(**{kind.noun: stored})

    return update


def _deleting(kind: _Kind, response: _Response) -> Any:
    async def delete(self: "ProfileServicer", request: Any, context: object) -> Message:
        """Removes a profile."""
        del context
        await self.profiles.delete(current().owner, kind.message, _id_in(request, kind))
        return response()

    return delete


def _id_in(request: Any, kind: _Kind) -> str:
    return str(getattr(request, f"{kind.noun}_id"))


def _fields_to_change(kind: _Kind, request: Any) -> Collection[str]:
    """The fields of an update; raises VALIDATION_FAILED where one of them breaks its rule or cannot be changed."""
    profile, allowed, mask = getattr(request, kind.noun), kind.fields, request.update_mask.paths
    if len(mask) > len(allowed):
        raise validation_failed([FieldViolation("update_mask.paths", f"must have at most {len(allowed)} entries")])
    fields = set(mask) if request.HasField("update_mask") else {field.name for field, _ in profile.ListFields()}
    wrong = [
        FieldViolation(f"update_mask.paths[{index}]", f"must be one of {', '.join(allowed)}")
        for index, path in enumerate(mask)
        if path not in allowed
    ]
    # What is not changed need not be given: the rules of other fields do not count.
    rules = {f"{kind.noun}.{name}" for name in fields | {"id", "revision"}}
    wrong += [each for each in violations(profile, kind.noun) if each.field.partition("[")[0] in rules]
    if wrong:
        raise validation_failed(wrong)
    return fields & set(allowed)


class ProfileServicer(profile_pb2_grpc.ProfileServiceServicer):
    """Answers for the children and heroes of the owner who asks."""

    def __init__(self, profiles: ProfileStore) -> None:
        self.profiles = profiles

    CreateChild = _creating(_CHILD, profile_pb2.CreateChildResponse)
    GetChild = _getting(_CHILD, profile_pb2.GetChildResponse)
    ListChildren = _listing(_CHILD, profile_pb2.ListChildrenResponse)
    UpdateChild = _updating(_CHILD, profile_pb2.UpdateChildResponse)
    DeleteChild = _deleting(_CHILD, profile_pb2.DeleteChildResponse)

    CreateHero = _creating(_HERO, profile_pb2.CreateHeroResponse)
    GetHero = _getting(_HERO, profile_pb2.GetHeroResponse)
    ListHeroes = _listing(_HERO, profile_pb2.ListHeroesResponse)
    UpdateHero = _updating(_HERO, profile_pb2.UpdateHeroResponse)
    DeleteHero = _deleting(_HERO, profile_pb2.DeleteHeroResponse)
