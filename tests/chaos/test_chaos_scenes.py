"""kill -9 of the gateway and of the story service between and within the scenes of a long story."""

from pathlib import Path

import pytest

from standins.paid_upstreams import paid_upstreams
from standins.processes import cluster
from standins.scene_writer import ENDING
from standins.watcher import Watcher, gateway_stub, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

_SETTINGS = {"DEFAULT_VOICE_PROVIDER": "mock", "LEASE_SECONDS": "1", "PICKUP_INTERVAL_SECONDS": "0.2"}


@pytest.mark.parametrize("name", ["gateway", "story"])
@pytest.mark.parametrize("ended", [1, 2])
@pytest.mark.sampled(3)
async def test_killed_run_continues_with_its_scene(tmp_path: Path, name: str, ended: int) -> None:
    """The outline is made once, no scene is written twice, length and cost are what was requested and billed."""
    async with paid_upstreams() as upstreams, cluster(tmp_path, **{**upstreams.environment, **_SETTINGS}) as house:
        await upstreams.script(most_words=1_000, events=40, writing=1.5)
        watcher = Watcher()
        async with house.channel() as channel:
            telling = watcher.tell(channel, spec(7, minutes=10), request_id=f"{name}-{ended}")
            await watcher.until(lambda seen: len(seen.text.split()) > 480 * ended + 60)
            before = watcher.text
            await house.kill(name)
            await house.start(name)
            await telling
            story = await watcher.to_the_end(channel)
            request = gateway_pb2.GetStoryRequest(story_id=story.id, view=common_pb2.STORY_VIEW_FULL)
            story = (await gateway_stub(channel).GetStory(request, timeout=10)).story
        calls = (await upstreams.journal())["told"]

    assert common_pb2.STORY_STATE_READY == story.state
    assert story.content.startswith(before)
    assert 0.85 <= len(story.content.split()) / 1_500 <= 1.2
    assert 1 == story.content.count(ENDING)
    assert [] == [problem.reason for problem in story.problems]
    ends = [scene.end for scene in story.outline.scenes]
    assert 3 == len(ends)
    assert ends == sorted(ends)
    assert len(story.content) == ends[-1]
    # An outline, three scenes, and the call that the kill cut.
    assert 4 <= len(calls) <= 5
    assert pytest.approx(sum(0.00001 * call["words"] for call in calls)) == story.usage.cost_usd
    # Of a service that goes away it is not known whether it has made a call that it did not report.
    assert story.usage.cost_known or name == "story"
