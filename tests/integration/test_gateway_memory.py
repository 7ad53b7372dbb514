"""The plan of a story is in its record, and the next story for the same child differs from it."""

from pathlib import Path

from support.house import house

from standins.watcher import spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2


def keys(story: common_pb2.Story) -> set[str]:
    """The scenes of the stock that a story has."""
    return {scene.key for scene in story.outline.scenes if scene.key}


async def test_second_story_for_a_child_uses_none_of_the_scenes_of_the_first(tmp_path: Path) -> None:
    """With the same brief and seed; the list has what each of them used."""
    async with house(tmp_path) as home:
        wanted = spec(1, minutes=3, narrate=False)
        first, second = [await home.get((await home.tell(wanted)).story_id) for _ in range(2)]
        listed = await home.stub.ListStories(gateway_pb2.ListStoriesRequest(), timeout=20)
    assert keys(first)
    assert not keys(first) & keys(second)
    assert first.title == first.outline.title
    assert [keys(second), keys(first)] == [
        {scene.key for scene in summary.outline.scenes} for summary in listed.stories
    ]


async def test_wish_that_was_not_understood_is_a_problem_of_the_finished_story(tmp_path: Path) -> None:
    """It stands when the story is READY, and still after it is narrated."""
    wanted = spec(1, narrate=False)
    wanted.wish = "to kill my sister"
    async with house(tmp_path) as home:
        story = await home.get((await home.tell(wanted)).story_id)
        request = gateway_pb2.NarrateStoryRequest(story_id=story.id)
        await home.stub.NarrateStory(request, timeout=20)
        await home.watch(story.id)
        narrated = await home.get(story.id)
    for each in (story, narrated):
        assert common_pb2.STORY_STATE_READY == each.state
        assert ["WISH_NOT_UNDERSTOOD"] == [problem.reason for problem in each.problems]
