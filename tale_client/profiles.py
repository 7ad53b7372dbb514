"""Calls that concern saved children and heroes."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale_client.calls import PAGE_SIZE, Calls, new_request_id
from tale_client.transport import Rpc

CREATE_CHILD: Final = Rpc(profile_pb2.CreateChildRequest, profile_pb2.CreateChildResponse)
GET_CHILD: Final = Rpc(profile_pb2.GetChildRequest, profile_pb2.GetChildResponse)
LIST_CHILDREN: Final = Rpc(profile_pb2.ListChildrenRequest, profile_pb2.ListChildrenResponse)
UPDATE_CHILD: Final = Rpc(profile_pb2.UpdateChildRequest, profile_pb2.UpdateChildResponse)
DELETE_CHILD: Final = Rpc(profile_pb2.DeleteChildRequest, profile_pb2.DeleteChildResponse)
ERASE_CHILD: Final = Rpc(gateway_pb2.EraseChildRequest, gateway_pb2.EraseChildResponse)
CREATE_HERO: Final = Rpc(profile_pb2.CreateHeroRequest, profile_pb2.CreateHeroResponse)
GET_HERO: Final = Rpc(profile_pb2.GetHeroRequest, profile_pb2.GetHeroResponse)
LIST_HEROES: Final = Rpc(profile_pb2.ListHeroesRequest, profile_pb2.ListHeroesResponse)
UPDATE_HERO: Final = Rpc(profile_pb2.UpdateHeroRequest, profile_pb2.UpdateHeroResponse)
DELETE_HERO: Final = Rpc(profile_pb2.DeleteHeroRequest, profile_pb2.DeleteHeroResponse)


class ProfileCalls(Calls):
    """Children and heroes.

    An update changes the named `fields`, or all fields that are set in the message if none is named. A named field that
    is not set is cleared. A revision in the message must be the stored one (REVISION_MISMATCH); then the call is not
    repeated, because a repetition would find the revision that the first call made.
    """

    async def create_child(self, child: common_pb2.Child, *, request_id: str = "") -> common_pb2.Child:
        """Saves a child, whose id can be used in a StorySpec, and returns it."""
        request = profile_pb2.CreateChildRequest(request_id=request_id or new_request_id(), child=child)
        return (await self._unary(CREATE_CHILD, request)).child

    async def get_child(self, child_id: str) -> common_pb2.Child:
        """Returns a saved child."""
        return (await self._unary(GET_CHILD, profile_pb2.GetChildRequest(child_id=child_id))).child

    async def list_children(self, *, page_size: int = PAGE_SIZE) -> AsyncGenerator[common_pb2.Child, None]:
        """Yields the saved children, newest first, page after page."""
        request = profile_pb2.ListChildrenRequest(page_size=page_size)
        async with aclosing(self._pages(LIST_CHILDREN, request)) as found:
            async for page in found:
                for child in page.children:
                    yield child

    async def update_child(self, child: common_pb2.Child, *, fields: Sequence[str] = ()) -> common_pb2.Child:
        """Changes the child with the id of `child` and returns it; fields: name, age, gender, interests."""
        request = profile_pb2.UpdateChildRequest(child=child, update_mask=_mask(fields))
        return (await self._unary(UPDATE_CHILD, request, repeatable=not child.revision)).child

    async def delete_child(self, child_id: str) -> None:
        """Deletes a child. Its stories stay; see `erase_child`."""
        await self._delete(DELETE_CHILD, profile_pb2.DeleteChildRequest(child_id=child_id))

    async def erase_child(self, child_id: str) -> gateway_pb2.EraseChildResponse:
        """Deletes a child with its stories, audio, attempts and segments, and returns their counts.

        The counts are 0 if the first response was lost, because a repetition finds nothing to delete.
        """
        erased = await self._delete(ERASE_CHILD, gateway_pb2.EraseChildRequest(child_id=child_id))
        return erased or gateway_pb2.EraseChildResponse()

    async def create_hero(self, hero: common_pb2.Hero, *, request_id: str = "") -> common_pb2.Hero:
        """Saves a hero, whose id can be used in a StorySpec, and returns it."""
        request = profile_pb2.CreateHeroRequest(request_id=request_id or new_request_id(), hero=hero)
        return (await self._unary(CREATE_HERO, request)).hero

    async def get_hero(self, hero_id: str) -> common_pb2.Hero:
        """Returns a saved hero."""
        return (await self._unary(GET_HERO, profile_pb2.GetHeroRequest(hero_id=hero_id))).hero

    async def list_heroes(self, *, page_size: int = PAGE_SIZE) -> AsyncGenerator[common_pb2.Hero, None]:
        """Yields the saved heroes, newest first, page after page."""
        request = profile_pb2.ListHeroesRequest(page_size=page_size)
        async with aclosing(self._pages(LIST_HEROES, request)) as found:
            async for page in found:
                for hero in page.heroes:
                    yield hero

    async def update_hero(self, hero: common_pb2.Hero, *, fields: Sequence[str] = ()) -> common_pb2.Hero:
        """Changes the hero with the id of `hero` and returns it; fields: name, gender, appearance and so on."""
        request = profile_pb2.UpdateHeroRequest(hero=hero, update_mask=_mask(fields))
        return (await self._unary(UPDATE_HERO, request, repeatable=not hero.revision)).hero

    async def delete_hero(self, hero_id: str) -> None:
        """Deletes a hero. Its stories stay."""
        await self._delete(DELETE_HERO, profile_pb2.DeleteHeroRequest(hero_id=hero_id))


def _mask(fields: Sequence[str]) -> FieldMask | None:
    return FieldMask(paths=fields) if fields else None
