"""ProfileService on the wire: messages in, domain calls, messages out."""

from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import Message

from servicekit.context import current
from servicekit.fingerprint import fingerprint
from storage_service import profile_requests as requests
from storage_service.errors import field_error
from storage_service.paging import from_token, to_token
from storage_service.ports import ProfileStore
from storage_service.records import Position, Profile, RepeatKey
from tale.common.v1 import common_pb2
from tale.profile.v1 import profile_pb2, profile_pb2_grpc

_WITHOUT_REQUEST_ID: Final = frozenset({"request_id"})

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class ProfileServicer(profile_pb2_grpc.ProfileServiceServicer):
    """Answers for the children and heroes of the owner who asks."""

    def __init__(self, profiles: ProfileStore) -> None:
        self._profiles = profiles

    async def CreateChild(  # noqa: N802 - the contract's name
        self, request: profile_pb2.CreateChildRequest, context: _Context
    ) -> profile_pb2.CreateChildResponse:
        """Keeps a child."""
        del context
        requests.check_child(request.child, request.request_id, given=request.HasField("child"))
        child = await self._profiles.create(current().owner, request.child, _repeat_key(request, request.request_id))
        return profile_pb2.CreateChildResponse(child=child)

    async def GetChild(  # noqa: N802 - the contract's name
        self, request: profile_pb2.GetChildRequest, context: _Context
    ) -> profile_pb2.GetChildResponse:
        """Gives a child."""
        del context
        requests.check_id("child_id", request.child_id)
        child = await self._profiles.get(current().owner, common_pb2.Child, request.child_id)
        return profile_pb2.GetChildResponse(child=child)

    async def ListChildren(  # noqa: N802 - the contract's name
        self, request: profile_pb2.ListChildrenRequest, context: _Context
    ) -> profile_pb2.ListChildrenResponse:
        """Lists children."""
        del context
        size = requests.check_list(request.page_size, request.page_token)
        page, token = await self._page(common_pb2.Child, profile_pb2.ListChildrenRequest(), size, request.page_token)
        return profile_pb2.ListChildrenResponse(children=page, next_page_token=token)

    async def UpdateChild(  # noqa: N802 - the contract's name
        self, request: profile_pb2.UpdateChildRequest, context: _Context
    ) -> profile_pb2.UpdateChildResponse:
        """Changes a child."""
        del context
        fields = requests.check_child_update(request)
        revision = request.child.revision or None
        child = await self._profiles.update(current().owner, request.child, fields, expected_revision=revision)
        return profile_pb2.UpdateChildResponse(child=child)

    async def DeleteChild(  # noqa: N802 - the contract's name
        self, request: profile_pb2.DeleteChildRequest, context: _Context
    ) -> profile_pb2.DeleteChildResponse:
        """Removes a child."""
        del context
        requests.check_id("child_id", request.child_id)
        await self._profiles.delete(current().owner, common_pb2.Child, request.child_id)
        return profile_pb2.DeleteChildResponse()

    async def CreateHero(  # noqa: N802 - the contract's name
        self, request: profile_pb2.CreateHeroRequest, context: _Context
    ) -> profile_pb2.CreateHeroResponse:
        """Keeps a hero."""
        del context
        requests.check_hero(request.hero, request.request_id, given=request.HasField("hero"))
        hero = await self._profiles.create(current().owner, request.hero, _repeat_key(request, request.request_id))
        return profile_pb2.CreateHeroResponse(hero=hero)

    async def GetHero(  # noqa: N802 - the contract's name
        self, request: profile_pb2.GetHeroRequest, context: _Context
    ) -> profile_pb2.GetHeroResponse:
        """Gives a hero."""
        del context
        requests.check_id("hero_id", request.hero_id)
        hero = await self._profiles.get(current().owner, common_pb2.Hero, request.hero_id)
        return profile_pb2.GetHeroResponse(hero=hero)

    async def ListHeroes(  # noqa: N802 - the contract's name
        self, request: profile_pb2.ListHeroesRequest, context: _Context
    ) -> profile_pb2.ListHeroesResponse:
        """Lists heroes."""
        del context
        size = requests.check_list(request.page_size, request.page_token)
        page, token = await self._page(common_pb2.Hero, profile_pb2.ListHeroesRequest(), size, request.page_token)
        return profile_pb2.ListHeroesResponse(heroes=page, next_page_token=token)

    async def UpdateHero(  # noqa: N802 - the contract's name
        self, request: profile_pb2.UpdateHeroRequest, context: _Context
    ) -> profile_pb2.UpdateHeroResponse:
        """Changes a hero."""
        del context
        fields = requests.check_hero_update(request)
        revision = request.hero.revision or None
        hero = await self._profiles.update(current().owner, request.hero, fields, expected_revision=revision)
        return profile_pb2.UpdateHeroResponse(hero=hero)

    async def DeleteHero(  # noqa: N802 - the contract's name
        self, request: profile_pb2.DeleteHeroRequest, context: _Context
    ) -> profile_pb2.DeleteHeroResponse:
        """Removes a hero."""
        del context
        requests.check_id("hero_id", request.hero_id)
        await self._profiles.delete(current().owner, common_pb2.Hero, request.hero_id)
        return profile_pb2.DeleteHeroResponse()

    async def _page(self, kind: type[Profile], listing: Message, size: int, token: str) -> tuple[list[Profile], str]:
        """A page of profiles and the token of the next; `listing` says which list the tokens are good for."""
        owner = current().owner
        after = None
        if token:
            after = from_token(token, owner, listing)
            if after is None:
                raise field_error("page_token", "must be the next_page_token of an earlier answer")
        # One more than asked for tells whether there is a next page.
        found = list(await self._profiles.list_page(owner, kind, limit=size + 1, after=after))
        if len(found) <= size:
            return found, ""
        last = found[size - 1]
        return found[:size], to_token(Position(last.create_time.ToMicroseconds(), last.id), owner, listing)


def _repeat_key(request: Message, request_id: str) -> RepeatKey | None:
    return RepeatKey(request_id, fingerprint(request, without=_WITHOUT_REQUEST_ID)) if request_id else None
