"""What can be asked of children and heroes that are kept."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from google.protobuf.field_mask_pb2 import FieldMask

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale_client.calls import PAGE_SIZE, Calls, new_request_id
from tale_client.rpcs import (
    CREATE_CHILD,
    CREATE_HERO,
    DELETE_CHILD,
    DELETE_HERO,
    ERASE_CHILD,
    GET_CHILD,
    GET_HERO,
    LIST_CHILDREN,
    LIST_HEROES,
    UPDATE_CHILD,
    UPDATE_HERO,
)


class ProfileCalls(Calls):
    """Children and heroes.

    The updates change `fields`, or all that are set in the message where none is named; a field that is named and
    not set is cleared. A revision in the message must be the kept one (REVISION_MISMATCH), and then the call is not
    repeated: its repetition would meet the revision that the first call made.
    """

    async def create_child(self, child: common_pb2.Child, *, request_id: str = "") -> common_pb2.Child:
        """Keeps a child, whose id can then stand in a StorySpec."""
        request = profile_pb2.CreateChildRequest(request_id=request_id or new_request_id(), child=child)
        return (await self._unary(CREATE_CHILD, request)).child

    async def get_child(self, child_id: str) -> common_pb2.Child:
        """A kept child."""
        return (await self._unary(GET_CHILD, profile_pb2.GetChildRequest(child_id=child_id))).child

    async def list_children(self, *, page_size: int = PAGE_SIZE) -> AsyncGenerator[common_pb2.Child, None]:
        """Kept children, newest first, page after page."""
        request = profile_pb2.ListChildrenRequest(page_size=page_size)
        async with aclosing(self._pages(LIST_CHILDREN, request)) as found:
            async for page in found:
                for child in page.children:
                    yield child

    async def update_child(self, child: common_pb2.Child, *, fields: Sequence[str] = ()) -> common_pb2.Child:
        """Changes the child with the id of `child`: name, age, gender, interests."""
        request = profile_pb2.UpdateChildRequest(child=child, update_mask=_mask(fields))
        return (await self._unary(UPDATE_CHILD, request, repeatable=not child.revision)).child

    async def delete_child(self, child_id: str) -> None:
        """Removes a child. Its stories stay; see `erase_child`."""
        await self._delete(DELETE_CHILD, profile_pb2.DeleteChildRequest(child_id=child_id))

    async def erase_child(self, child_id: str) -> gateway_pb2.EraseChildResponse:
        """Removes a child with its stories, audio, ledger and segments; returns how many there were.

        Where a first answer was lost, a repetition finds nothing any more and the counts are 0.
        """
        erased = await self._delete(ERASE_CHILD, gateway_pb2.EraseChildRequest(child_id=child_id))
        return erased or gateway_pb2.EraseChildResponse()

    async def create_hero(self, hero: common_pb2.Hero, *, request_id: str = "") -> common_pb2.Hero:
        """Keeps a hero, whose id can then stand in a StorySpec."""
        request = profile_pb2.CreateHeroRequest(request_id=request_id or new_request_id(), hero=hero)
        return (await self._unary(CREATE_HERO, request)).hero

    async def get_hero(self, hero_id: str) -> common_pb2.Hero:
        """A kept hero."""
        return (await self._unary(GET_HERO, profile_pb2.GetHeroRequest(hero_id=hero_id))).hero

    async def list_heroes(self, *, page_size: int = PAGE_SIZE) -> AsyncGenerator[common_pb2.Hero, None]:
        """Kept heroes, newest first, page after page."""
        request = profile_pb2.ListHeroesRequest(page_size=page_size)
        async with aclosing(self._pages(LIST_HEROES, request)) as found:
            async for page in found:
                for hero in page.heroes:
                    yield hero

    async def update_hero(self, hero: common_pb2.Hero, *, fields: Sequence[str] = ()) -> common_pb2.Hero:
        """Changes the hero with the id of `hero`: name, gender, appearance, personality_traits and so on."""
        request = profile_pb2.UpdateHeroRequest(hero=hero, update_mask=_mask(fields))
        return (await self._unary(UPDATE_HERO, request, repeatable=not hero.revision)).hero

    async def delete_hero(self, hero_id: str) -> None:
        """Removes a hero. Stories about it stay."""
        await self._delete(DELETE_HERO, profile_pb2.DeleteHeroRequest(hero_id=hero_id))


def _mask(fields: Sequence[str]) -> FieldMask | None:
    return FieldMask(paths=fields) if fields else None
