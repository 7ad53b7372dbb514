"""Stories for stored children, about stored heroes, and sequels: what is resolved, stored and sent to the writer."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.house import House, house
from support.story_scripts import ScriptedStories

from servicekit.errors import DomainError
from servicekit.ids import new_id
from servicekit.status import from_rpc_error
from standins.storage_kit import create_request
from standins.watcher import spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2, profile_pb2_grpc

COMBINED, HERO = common_pb2.STORY_KIND_COMBINED, common_pb2.STORY_KIND_HERO


@dataclass(slots=True)
class Home:
    """A cluster, its writer, and the profiles at its gateway."""

    house: House
    writer: ScriptedStories
    profiles: Any

    async def child(self, name: str = "Mia") -> common_pb2.Child:
        """Returns a stored child."""
        request = profile_pb2.CreateChildRequest(child=common_pb2.Child(name=name, age=6, interests=["dragons"]))
        answer: profile_pb2.CreateChildResponse = await self.profiles.CreateChild(request, timeout=10)
        return answer.child

    async def hero(self) -> common_pb2.Hero:
        """Returns a stored hero."""
        hero = common_pb2.Hero(name="Captain Fox", appearance="red", strengths=["patience"])
        answer: profile_pb2.CreateHeroResponse = await self.profiles.CreateHero(
            profile_pb2.CreateHeroRequest(hero=hero), timeout=10
        )
        return answer.hero


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Home]:
    """A cluster with a scripted writer."""
    writer = ScriptedStories("The Owl", "Once there was an owl. It slept.")
    async with house(tmp_path_factory.mktemp("home"), story=writer) as it:
        yield Home(it, writer, profile_pb2_grpc.ProfileServiceStub(it.channel))


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    """Code and reason of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), from_rpc_error(caught.value).reason


def wish(**changes: Any) -> common_pb2.StorySpec:
    """A wish without narration."""
    return common_pb2.StorySpec(wish="an owl", length_minutes=1, narrate=False, **changes)


async def test_story_for_a_stored_child_about_a_stored_hero(home: Home) -> None:
    """The writer gets both as they are now, the story keeps them as they were, and lists find it by either."""
    child, hero = await home.child(), await home.hero()
    watcher = await home.house.tell(wish(child_id=child.id, hero_id=hero.id, kind=COMBINED))
    asked = home.writer.asked[-1]
    assert child == asked.child
    assert hero == asked.hero
    assert COMBINED == asked.spec.kind
    update = profile_pb2.UpdateChildRequest(child=common_pb2.Child(id=child.id, name="Ada"))
    await home.profiles.UpdateChild(update, timeout=10)
    story = await home.house.get(watcher.story_id)
    assert child.id == story.child_id
    assert child == story.child
    assert hero.id == story.hero_id
    assert hero == story.hero
    for chosen in (common_pb2.StoryFilter(child_id=child.id), common_pb2.StoryFilter(hero_id=hero.id)):
        page = await home.house.stub.ListStories(gateway_pb2.ListStoriesRequest(filter=chosen), timeout=10)
        assert [(story.id, child.id, hero.id, "Mia")] == [
            (one.id, one.child_id, one.hero_id, one.child_name) for one in page.stories
        ]


@pytest.mark.parametrize("kind", [HERO, COMBINED])
async def test_hero_given_inline_reaches_the_writer(home: Home, kind: Any) -> None:
    """No stored hero is needed."""
    hero = common_pb2.Hero(name="Captain Fox", personality_traits=["patient"])
    watcher = await home.house.tell(wish(child=common_pb2.Child(name="Mia"), hero=hero, kind=kind))
    asked = home.writer.asked[-1]
    assert hero == asked.hero
    assert common_pb2.Child(name="Mia") == asked.child
    story = await home.house.get(watcher.story_id)
    assert kind == story.kind
    assert hero == story.hero
    assert "" == story.hero_id
    assert "" == story.child_id


async def test_sequel_continues_its_parent(home: Home) -> None:
    """The writer gets what happened before."""
    parent = await home.house.tell(spec(1, narrate=False))
    assert "" == home.writer.asked[-1].parent_title
    assert "" == home.writer.asked[-1].parent_text
    watcher = await home.house.tell(wish(child=common_pb2.Child(name="Mia"), parent_story_id=parent.story_id))
    asked = home.writer.asked[-1]
    assert watcher.story_id == asked.story_id
    assert "The Owl" == asked.parent_title
    assert (await home.house.get(parent.story_id)).content == asked.parent_text
    assert parent.story_id == (await home.house.get(watcher.story_id)).parent_story_id


async def test_sequel_of_a_deleted_parent_is_written_without_it(home: Home) -> None:
    """What failed is retried after its parent was deleted, as a story of its own."""
    parent = await home.house.tell(spec(3, narrate=False))
    home.writer.failures.append(DomainError("CONTENT_REFUSED", "The model refused it."))
    sequel = wish(child=common_pb2.Child(name="Mia"), parent_story_id=parent.story_id)
    watcher = await home.house.tell(sequel)
    assert common_pb2.STORY_STATE_FAILED == (await home.house.get(watcher.story_id)).state
    await home.house.stub.DeleteStory(gateway_pb2.DeleteStoryRequest(story_id=parent.story_id), timeout=10)
    again = gateway_pb2.RetryStoryRequest(story_id=watcher.story_id, request_id=new_id())
    await home.house.stub.RetryStory(again, timeout=10)
    await home.house.watch(watcher.story_id)
    asked = home.writer.asked[-1]
    assert watcher.story_id == asked.story_id
    assert "" == asked.parent_title
    assert "" == asked.parent_text
    assert common_pb2.STORY_STATE_READY == (await home.house.get(watcher.story_id)).state


async def test_unknown_child_or_hero_is_not_found_and_starts_nothing(home: Home) -> None:
    """Before acceptance, for CreateStory and TellStory alike; the request id stays free."""
    mia, request_id = common_pb2.Child(name="Mia"), new_id()
    cases = [
        (wish(child_id=new_id()), "CHILD_NOT_FOUND"),
        (wish(child=mia, hero_id=new_id(), kind=HERO), "HERO_NOT_FOUND"),
        (wish(child=mia, parent_story_id=new_id()), "STORY_NOT_FOUND"),
    ]
    asked = len(home.writer.asked)
    for bad, reason in cases:
        assert (grpc.StatusCode.NOT_FOUND, reason) == await refused(home.house.create(bad, request_id))
        assert (grpc.StatusCode.NOT_FOUND, reason) == await refused(home.house.tell(bad, request_id))
    assert asked == len(home.writer.asked)
    assert await home.house.create(wish(child=mia), request_id)


async def test_parent_story_must_be_complete(home: Home) -> None:
    """A story that was stopped before its text was complete has no sequel."""
    begun = await home.house.storage.CreateStory(create_request(), timeout=10)
    sequel = wish(child=common_pb2.Child(name="Mia"), parent_story_id=begun.record.story.id)
    cancel = gateway_pb2.CancelStoryRequest(story_id=begun.record.story.id)
    await home.house.stub.CancelStory(cancel, timeout=10)
    assert (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE") == await refused(home.house.create(sequel))


async def test_repeated_request_outlives_its_child(home: Home) -> None:
    """The same id and wish are the same story, though the child was deleted since; the fingerprint is of the wish."""
    child, request_id = await home.child(), new_id()
    first = await home.house.create(wish(child_id=child.id), request_id)
    await home.profiles.DeleteChild(profile_pb2.DeleteChildRequest(child_id=child.id), timeout=10)
    assert first.id == (await home.house.create(wish(child_id=child.id), request_id)).id
    assert (grpc.StatusCode.NOT_FOUND, "CHILD_NOT_FOUND") == await refused(home.house.create(wish(child_id=child.id)))


async def test_calls_wait_for_a_storage_service_that_comes_back(tmp_path: Path) -> None:
    """The channel of the gateway has failed and tries again within a second; no call is refused in that time."""
    async with house(tmp_path, story=ScriptedStories("The Owl", "An owl slept."), gate=True) as it:
        at_home = Home(it, ScriptedStories("", ""), profile_pb2_grpc.ProfileServiceStub(it.channel))
        story = (await it.tell(wish(child_id=(await at_home.child()).id))).story_id
        it.proxies["storage"].leave()
        assert (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE") == await refused(at_home.child())
        it.proxies["storage"].come_back()
        rating = gateway_pb2.RateStoryRequest(story_id=story, rating=5)
        child, rated = await asyncio.gather(at_home.child(), it.stub.RateStory(rating, timeout=10))
        assert "Mia" == child.name
        assert 5 == rated.story.rating
