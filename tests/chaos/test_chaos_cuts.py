"""Connections between services are cut: stories become READY and complete all the same."""

from pathlib import Path

import pytest
import pytest_asyncio
from support.house import house

from standins.watcher import Watcher, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from voice_service.providers.mock.script import MockFault

CUTS = {
    "story": [1, 400, 900, 1500],
    "voice": [1, 120, 300, 700, 1200],
    "storage": [1, 200, 700, 1500, 2500, 4000],
}


@pytest_asyncio.fixture(scope="module")
async def quiet(tmp_path_factory: pytest.TempPathFactory) -> Watcher:
    """The story as it is when nothing happens."""
    async with house(tmp_path_factory.mktemp("quiet")) as it:
        return await it.tell(spec(77))


@pytest.mark.parametrize("name", sorted(CUTS))
async def test_cut_connections_change_nothing(tmp_path: Path, quiet: Watcher, name: str) -> None:
    """The watcher, whose own connection holds, sees the very same story."""
    async with house(tmp_path, cuts={name: CUTS[name]}, words_per_second=600) as home:
        watcher = await home.tell(spec(77))
        story = await home.get(watcher.story_id)
        assert home.proxies[name].left == 0
    assert common_pb2.STORY_STATE_READY == story.state, story.problems
    assert quiet.title == watcher.title
    assert quiet.text == watcher.text
    assert quiet.audio == watcher.audio
    assert quiet.audio_sha256 == story.audio.sha256
    # Whatever was cut, no segment was paid for twice: the segment store had those that were spoken.
    assert len(story.audio.segments) == home.journal.calls


@pytest.mark.parametrize("kind", ["truncate", "short", "garbage", "cut", "overload", "rate", "transport", "timeout"])
@pytest.mark.sampled(3)
async def test_voice_that_fails_sometimes_is_retried(tmp_path: Path, quiet: Watcher, kind: str) -> None:
    """Some calls fail once in their own way: only that segment is retried, and the audio is the same."""
    faults = [MockFault.model_validate({"call": call, "kind": kind}) for call in (1, 7)]
    async with house(tmp_path, faults=faults) as home:
        watcher = await home.tell(spec(77))
    assert watcher.done is not None
    assert common_pb2.STORY_STATE_READY == watcher.done.state, watcher.done.problems
    assert quiet.text == watcher.text
    assert quiet.audio == watcher.audio


async def test_voice_that_fails_for_good_leaves_the_text(tmp_path: Path, quiet: Watcher) -> None:
    """READY_WITHOUT_AUDIO with the reason; narrated again later, only what is missing is paid for."""
    faults = [MockFault.model_validate({"call": 3, "kind": "auth"})]
    async with house(tmp_path, faults=faults) as home:
        watcher = await home.tell(spec(77))
        assert watcher.done is not None
        assert common_pb2.STORY_STATE_READY_WITHOUT_AUDIO == watcher.done.state
        assert quiet.title == watcher.done.title
        assert quiet.text == watcher.done.content
        (problem,) = watcher.done.problems
        assert "NarrateStory" in problem.remedy or problem.remedy
        assert problem.reason
        spoken = home.journal.finished
        await home.stub.NarrateStory(gateway_pb2.NarrateStoryRequest(story_id=watcher.story_id), timeout=10)
        again = await home.watch(watcher.story_id)
    assert again.done is not None
    assert common_pb2.STORY_STATE_READY == again.done.state
    assert quiet.audio == again.audio
    assert 0 < spoken < len(again.segments) == home.journal.finished
