"""`tale children`, `tale heroes`, and stories with saved profiles, against a scripted gateway."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import Parse
from support.scripted_gateway import Failure, ScriptedGateway, scripted_gateway
from support.tale_command import tale

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2

ID = "0197a5a0-0000-7000-8000-000000000001"
OTHER_ID = "0197a5a0-0000-7000-8000-000000000002"
CHILD = common_pb2.Child(id=ID, name="Mia", age=6, gender=common_pb2.GENDER_FEMALE, interests=["dragons", "the sea"])
HERO = common_pb2.Hero(
    id=OTHER_ID,
    name="Captain Wonder",
    gender=common_pb2.GENDER_MALE,
    appearance="a blue cape",
    personality_traits=["brave"],
    strengths=["flying"],
    interests=["stars"],
    language_code="en",
)
MIA = "00000001  Mia; 6; female; dragons, the sea\n"
WONDER = "00000002  Captain Wonder; male; a blue cape; brave; flying; stars; en\n"
DONE = gateway_pb2.TellStoryResponse(
    event=gateway_pb2.StoryEvent(
        story_id=ID,
        done=gateway_pb2.DoneEvent(story=common_pb2.Story(id=ID, state=common_pb2.STORY_STATE_READY, title="T")),
    )
)


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as scripted:
        yield scripted


def children(*listed: common_pb2.Child) -> profile_pb2.ListChildrenResponse:
    return profile_pb2.ListChildrenResponse(children=listed)


async def test_children_are_saved_and_shown(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """add, list and show; with --json only the message."""
    gateway.queue("CreateChild", profile_pb2.CreateChildResponse(child=CHILD))
    options = ("--age", "6", "--gender", "female", "--interest", "dragons", "--interest", "the sea")
    added = await tale(gateway.target, tmp_path, "children", "add", "--name", "Mia", *options)
    code, out, err = added
    assert 0 == code
    assert f"Saved: {MIA}" == out
    assert "" == err
    (request,) = gateway.requests("CreateChild")
    asked = common_pb2.Child()
    asked.CopyFrom(CHILD)
    asked.id = ""
    assert isinstance(request, profile_pb2.CreateChildRequest)
    assert asked == request.child
    assert request.request_id
    gateway.answer("ListChildren", lambda _: [children(CHILD, common_pb2.Child(id=OTHER_ID, name="Leo"))])
    code, out, err = await tale(gateway.target, tmp_path, "children", "list")
    assert 0 == code
    assert f"{MIA}00000002  Leo\n" == out
    assert "" == err
    _, out, _ = await tale(gateway.target, tmp_path, "children", "list", "--json")
    assert [CHILD.id, OTHER_ID] == [child["id"] for child in json.loads(out)["children"]]
    # By name, whatever its case, and by id.
    gateway.queue("GetChild", profile_pb2.GetChildResponse(child=CHILD))
    for name in ("mia", "00000001", ID):
        _, out, _ = await tale(gateway.target, tmp_path, "children", "show", name, "--json")
        assert CHILD == Parse(out, common_pb2.Child())


async def test_child_is_changed_removed_and_erased(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """The mask has only the given fields; remove and erase ask first, and no answer means no."""
    gateway.answer("GetChild", lambda _: [profile_pb2.GetChildResponse(child=CHILD)])
    gateway.queue("UpdateChild", profile_pb2.UpdateChildResponse(child=CHILD))
    updated = await tale(gateway.target, tmp_path, "children", "update", ID, "--age", "6", "--clear", "interests")
    code, out, err = updated
    assert 0 == code
    assert f"Saved: {MIA}" == out
    assert "" == err
    mask = FieldMask(paths=["age", "interests"])
    assert [profile_pb2.UpdateChildRequest(child=common_pb2.Child(id=ID, age=6), update_mask=mask)] == gateway.requests(
        "UpdateChild"
    )
    assert 2 == (await tale(gateway.target, tmp_path, "children", "update", ID))[0]
    assert 2 == (await tale(gateway.target, tmp_path, "children", "update", ID, "--age", "6", "--clear", "age"))[0]
    gateway.answer("ListStories", lambda _: [gateway_pb2.ListStoriesResponse()])
    code, out, err = await tale(gateway.target, tmp_path, "children", "erase", ID)
    assert 1 == code
    assert "" == out
    assert "Erase the child Mia with all stories and audio? This cannot be undone." in err
    gateway.queue("DeleteChild", profile_pb2.DeleteChildResponse())
    removed = await tale(gateway.target, tmp_path, "children", "remove", ID, "--yes")
    code, out, err = removed
    assert 0 == code
    assert "The child is deleted. The stories stay.\n" == out
    assert "" == err
    erased = gateway_pb2.EraseChildResponse(story_count=2, audio_count=1, segment_count=40)
    gateway.queue("EraseChild", erased)
    _, out, _ = await tale(gateway.target, tmp_path, "children", "erase", ID, "--yes")
    assert "The child is erased. Deleted stories: 2, audio files: 1, segments: 40.\n" == out
    gateway.queue("EraseChild", erased)
    _, out, _ = await tale(gateway.target, tmp_path, "children", "erase", ID, "--yes", "--json")
    assert erased == Parse(out, gateway_pb2.EraseChildResponse())


async def test_removal_of_an_unknown_child_fails_before_the_question(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """An unknown name is reported before the question."""
    gateway.answer("ListChildren", lambda _: [children()])
    for command in ("remove", "erase"):
        code, _, err = await tale(gateway.target, tmp_path, "children", command, "Leo")
        assert 1 == code
        assert "No saved child is named Leo" in err
        assert "This cannot be undone" not in err
        assert "The stories stay" not in err


async def test_heroes_are_saved_shown_changed_and_removed(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """The same commands with a hero's options."""
    gateway.queue("CreateHero", profile_pb2.CreateHeroResponse(hero=HERO))
    options = ("--gender", "male", "--appearance", "a blue cape", "--trait", "brave", "--strength", "flying")
    added = await tale(
        gateway.target,
        tmp_path,
        *("heroes", "add", "--name", "Captain Wonder", *options, "--interest", "stars", "--language", "en"),
    )
    code, out, err = added
    assert 0 == code
    assert f"Saved: {WONDER}" == out
    assert "" == err
    asked = common_pb2.Hero()
    asked.CopyFrom(HERO)
    asked.id = ""
    (request,) = gateway.requests("CreateHero")
    assert isinstance(request, profile_pb2.CreateHeroRequest)
    assert asked == request.hero
    gateway.answer("ListHeroes", lambda _: [profile_pb2.ListHeroesResponse(heroes=[HERO])])
    code, out, err = await tale(gateway.target, tmp_path, "heroes", "list")
    assert 0 == code
    assert WONDER == out
    assert "" == err
    gateway.queue("UpdateHero", profile_pb2.UpdateHeroResponse(hero=HERO))
    await tale(
        gateway.target, tmp_path, "heroes", "update", "captain wonder", "--trait", "brave", "--clear", "appearance"
    )
    changed = common_pb2.Hero(id=OTHER_ID, personality_traits=["brave"])
    mask = FieldMask(paths=["personality_traits", "appearance"])
    assert [profile_pb2.UpdateHeroRequest(hero=changed, update_mask=mask)] == gateway.requests("UpdateHero")
    gateway.queue("DeleteHero", profile_pb2.DeleteHeroResponse())
    removed = await tale(gateway.target, tmp_path, "heroes", "remove", "Captain Wonder", "--yes", "--json")
    code, out, err = removed
    assert 0 == code
    assert "{}\n" == out
    assert "" == err
    assert [profile_pb2.DeleteHeroRequest(hero_id=OTHER_ID)] == gateway.requests("DeleteHero")


async def test_child_name_must_be_unique(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """An unknown name and an ambiguous name are one line of error each, and no story is created."""
    twins = [common_pb2.Child(id=ID, name="Mia"), common_pb2.Child(id=OTHER_ID, name="MIA")]
    gateway.answer("ListChildren", lambda _: [children(*twins)])
    code, out, err = await tale(gateway.target, tmp_path, "tell", "--child", "Leo")
    assert 1 == code
    assert "" == out
    assert "Error: No saved child is named Leo. `tale children list` shows all.\n" == err
    code, out, err = await tale(gateway.target, tmp_path, "tell", "--child", "Mia")
    assert 2 == code
    assert "" == out
    assert (
        "Error: 2 saved children are named Mia. Use the digits of one of them:\n  00000001  Mia\n  00000002  MIA\n"
    ) == err
    assert [] == gateway.requests("TellStory")


async def test_tell_accepts_a_saved_child_and_hero(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """--child and --hero become ids; with a hero the kind is combined by default."""
    gateway.queue("ListChildren", children(CHILD))
    gateway.queue("ListHeroes", profile_pb2.ListHeroesResponse(heroes=[HERO]))
    gateway.queue("TellStory", DONE)
    parent = ("--parent", OTHER_ID, "--theme", "the moon")
    code, _, _ = await tale(gateway.target, tmp_path, "tell", "--child", "Mia", "--hero", "Captain Wonder", *parent)
    assert 0 == code
    (request,) = gateway.requests("TellStory")
    assert isinstance(request, gateway_pb2.TellStoryRequest)
    combined = common_pb2.STORY_KIND_COMBINED
    assert (
        common_pb2.StorySpec(child_id=ID, hero_id=OTHER_ID, kind=combined, parent_story_id=OTHER_ID, theme="the moon")
        == request.spec
    )


async def test_tell_accepts_a_hero_described_by_options(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """The options that begin with --hero- make an inline hero; --kind is sent as given."""
    gateway.queue("TellStory", DONE)
    options = ("--hero-gender", "male", "--hero-appearance", "a blue cape", "--hero-trait", "brave")
    more = ("--hero-strength", "flying", "--hero-interest", "stars", "--kind", "hero")
    code, _, _ = await tale(
        gateway.target, tmp_path, "tell", "--name", "Mia", "--hero-name", "Captain Wonder", *options, *more
    )
    assert 0 == code
    (request,) = gateway.requests("TellStory")
    assert isinstance(request, gateway_pb2.TellStoryRequest)
    hero = common_pb2.Hero()
    hero.CopyFrom(HERO)
    hero.id = hero.language_code = ""
    assert (
        common_pb2.StorySpec(child=common_pb2.Child(name="Mia"), hero=hero, kind=common_pb2.STORY_KIND_HERO)
        == request.spec
    )


async def test_refused_profile_fields_are_named_by_their_options(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Refused fields are named by their options; an unknown child by the command that lists them."""
    violations = [("hero.personality_traits[1]", "must be shorter"), ("hero.name", "must be given")]
    gateway.queue("CreateHero", Failure(grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED", violations=violations))
    _, _, err = await tale(gateway.target, tmp_path, "heroes", "add", "--name", " ")
    assert "Error: --trait (hero.personality_traits[1]) must be shorter.\nError: --name must be given.\n" == err
    remedy = {"remedy": "Choose a child that ListChildren lists."}
    gateway.queue(
        "GetChild", Failure(grpc.StatusCode.NOT_FOUND, "CHILD_NOT_FOUND", "There is no such child.", metadata=remedy)
    )
    _, _, err = await tale(gateway.target, tmp_path, "children", "show", ID)
    assert (
        "Error: There is no such child. [CHILD_NOT_FOUND] Choose a child that `tale children list` lists."
        == err.splitlines()[0]
    )
