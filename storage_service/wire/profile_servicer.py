"""ProfileService on the wire: messages in, domain calls, messages out."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from google.protobuf.message import Message

from servicekit.context import current
from servicekit.fingerprint import fingerprint
from storage_service.ports import ProfileStore
from storage_service.records import Position, RepeatKey
from storage_service.wire.paging import page_of
from storage_service.wire.profile_requests import CHILD, HERO, Kind, check_list, check_new, check_update
from storage_service.wire.requests import check_id
from tale.profile.v1 import profile_pb2, profile_pb2_grpc

_WITHOUT_REQUEST_ID: Final = frozenset({"request_id"})

_Response: TypeAlias = Callable[..., Message]


def _creating(kind: Kind, response: _Response) -> Any:
    async def create(self: "ProfileServicer", request: Any, context: object) -> Message:
        """Stores a profile."""
        del context
        check_new(kind, request)
        key = fingerprint(request, without=_WITHOUT_REQUEST_ID)
        repeat = RepeatKey(request.request_id, key) if request.request_id else None
        stored = await self.profiles.create(current().owner, getattr(request, kind.noun), repeat)
        return response(**{kind.noun: stored})

    return create


def _getting(kind: Kind, response: _Response) -> Any:
    async def get(self: "ProfileServicer", request: Any, context: object) -> Message:
        """Returns a profile."""
        del context
        profile_id = _id_in(request, kind)
        return response(**{kind.noun: await self.profiles.get(current().owner, kind.message, profile_id)})

    return get


def _listing(kind: Kind, response: _Response) -> Any:
    async def list_page(self: "ProfileServicer", request: Any, context: object) -> Message:
        """Lists profiles."""
        del context
        size, owner = check_list(request.page_size, request.page_token), current().owner

        def load(limit: int, after: Position | None) -> Awaitable[Sequence[Any]]:
            return self.profiles.list_page(owner, kind.message, limit=limit, after=after)

        # The empty request says which list the tokens are good for.
        page, token = await page_of(owner, type(request)(), size, request.page_token, load)
        return response(**{kind.plural: page}, next_page_token=token)

    return list_page


def _updating(kind: Kind, response: _Response) -> Any:
    async def update(self: "ProfileServicer", request: Any, context: object) -> Message:
        """Changes a profile."""
        del context
        fields, change = check_update(kind, request), getattr(request, kind.noun)
        revision = change.revision or None
        stored = await self.profiles.update(current().owner, change, fields, expected_revision=revision)
        return response(**{kind.noun: stored})

    return update


def _deleting(kind: Kind, response: _Response) -> Any:
    async def delete(self: "ProfileServicer", request: Any, context: object) -> Message:
        """Removes a profile."""
        del context
        await self.profiles.delete(current().owner, kind.message, _id_in(request, kind))
        return response()

    return delete


def _id_in(request: Any, kind: Kind) -> str:
    field = f"{kind.noun}_id"
    profile_id: str = getattr(request, field)
    check_id(field, profile_id)
    return profile_id


class ProfileServicer(profile_pb2_grpc.ProfileServiceServicer):
    """Answers for the children and heroes of the owner who asks."""

    def __init__(self, profiles: ProfileStore) -> None:
        self.profiles = profiles

    CreateChild = _creating(CHILD, profile_pb2.CreateChildResponse)
    GetChild = _getting(CHILD, profile_pb2.GetChildResponse)
    ListChildren = _listing(CHILD, profile_pb2.ListChildrenResponse)
    UpdateChild = _updating(CHILD, profile_pb2.UpdateChildResponse)
    DeleteChild = _deleting(CHILD, profile_pb2.DeleteChildResponse)

    CreateHero = _creating(HERO, profile_pb2.CreateHeroResponse)
    GetHero = _getting(HERO, profile_pb2.GetHeroResponse)
    ListHeroes = _listing(HERO, profile_pb2.ListHeroesResponse)
    UpdateHero = _updating(HERO, profile_pb2.UpdateHeroResponse)
    DeleteHero = _deleting(HERO, profile_pb2.DeleteHeroResponse)
