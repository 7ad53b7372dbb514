"""kill -9 of any process at any point: every story becomes READY, and nothing that was shown changes."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from standins.processes import MODULES, Cluster, cluster
from standins.watcher import Watcher, gateway_stub
from standins.watcher import spec as wish_of
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

WRITING, NARRATING = common_pb2.STORY_STATE_WRITING, common_pb2.STORY_STATE_NARRATING
CASES = [(name, state) for state in (WRITING, NARRATING) for name in MODULES]
SEEDS = {case: 100 + index for index, case in enumerate(CASES)}

NAMES = ("Ada", "Bea", "Cleo", "Dora", "Edda", "Fay", "Gwen", "Hope", "Iris", "June")

QUICK = {"DEFAULT_VOICE_PROVIDER": "mock"}
SLOW = {
    **QUICK,
    # About a second of writing, and narration that goes on for a while after it.
    "STORY_OFFLINE_WORDS_PER_SECOND": "150",
    "VOICE_MOCK_SCRIPT": json.dumps({"first_byte_seconds": 0.1, "realtime_factor": 60}),
    "VOICE_SEGMENTS_AHEAD": "1",
    "LEASE_SECONDS": "1",
    "PICKUP_INTERVAL_SECONDS": "0.2",
}


def spec(seed: int) -> common_pb2.StorySpec:
    """Returns a request for a child of its own: a story depends on what its child heard before."""
    wish = wish_of(seed)
    wish.child.name = NAMES[seed - 100]
    return wish


@pytest_asyncio.fixture(scope="module")
async def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Watcher]:
    """What each story is when nothing happens to it."""
    seen = {seed: Watcher() for seed in SEEDS.values()}
    async with cluster(tmp_path_factory.mktemp("undisturbed"), **QUICK) as quiet, quiet.channel() as channel:
        await asyncio.gather(*(watcher.tell(channel, spec(seed)) for seed, watcher in seen.items()))
    assert {common_pb2.STORY_STATE_READY} == {watcher.done.state for watcher in seen.values() if watcher.done}
    return seen


@pytest_asyncio.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """A cluster at a pace at which something can happen to it."""
    async with cluster(tmp_path_factory.mktemp("house"), **SLOW) as it:
        yield it


@pytest.mark.parametrize(("name", "state"), CASES, ids=[f"{name}-{state}" for name, state in CASES])
@pytest.mark.sampled(3)
async def test_killed_process_loses_nothing(
    house: Cluster, undisturbed: dict[int, Watcher], name: str, state: "common_pb2.StoryState.ValueType"
) -> None:
    """After the restart the story is READY, what a watcher saw is a prefix of it, and the audio is the same."""
    seed = SEEDS[name, state]
    watcher = Watcher()
    async with house.channel() as channel:
        telling = watcher.tell(channel, spec(seed), request_id=f"kill-{seed}")
        await watcher.until(lambda seen: state in seen.states and seen.text and seen.segments)
        await house.kill(name)
        before = (watcher.title, watcher.text, bytes(watcher.audio), watcher.audio_id)
        await house.start(name)
        await telling
        story = await watcher.to_the_end(channel)
        request = gateway_pb2.GetStoryRequest(story_id=story.id, view=common_pb2.STORY_VIEW_FULL)
        attempts = (await gateway_stub(channel).GetStory(request, timeout=10)).story.attempts
    quiet = undisturbed[seed]
    assert story.state == common_pb2.STORY_STATE_READY, story.problems
    assert (quiet.title, quiet.text) == (story.title, story.content) == (watcher.title, watcher.text)
    assert before[:2] == (story.title, story.content[: len(before[1])])
    assert before[3] in {"", watcher.audio_id}
    assert before[2] == bytes(watcher.audio[: len(before[2])])
    assert quiet.audio_sha256 == watcher.audio_sha256 == story.audio.sha256
    assert [] == [line for line in attempts if line.outcome == common_pb2.ATTEMPT_OUTCOME_STARTED]
