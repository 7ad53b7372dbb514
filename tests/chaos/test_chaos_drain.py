"""SIGTERM in the middle of a story: streams end with RECONNECT, the run is handed over, nothing is lost."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from servicekit.status import from_rpc_error
from standins.processes import MODULES, Cluster, cluster
from standins.watcher import Watcher, spec
from tale.common.v1 import common_pb2

SLOW = {
    "DEFAULT_VOICE_PROVIDER": "mock",
    "STORY_OFFLINE_WORDS_PER_SECOND": "150",
    "VOICE_MOCK_SCRIPT": json.dumps({"first_byte_seconds": 0.05, "realtime_factor": 60}),
    "VOICE_SEGMENTS_AHEAD": "1",
    # Long enough that nobody could claim the story in time unless its lease had been given back.
    "LEASE_SECONDS": "300",
    "PICKUP_INTERVAL_SECONDS": "0.2",
}


@pytest_asyncio.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """A cluster whose stories take a few seconds."""
    async with cluster(tmp_path_factory.mktemp("house"), **SLOW) as it:
        yield it


async def test_draining_gateway_hands_its_runs_over(house: Cluster) -> None:
    """The watcher gets RECONNECT, and the next gateway continues at once with the same bytes."""
    watcher = Watcher()
    async with house.channel() as channel:
        telling = watcher.tell(channel, spec(7))
        await watcher.until(lambda seen: seen.text and seen.audio)
        assert 0 == await house.terminate("gateway")
        await telling
        assert watcher.error is not None
        assert "RECONNECT" == from_rpc_error(watcher.error).reason
        before = (watcher.text, bytes(watcher.audio), watcher.audio_id)
        await house.start("gateway")
        story = await watcher.to_the_end(channel)
    assert common_pb2.STORY_STATE_READY == story.state
    assert story.content.startswith(before[0])
    assert before[2] == story.audio.audio_id
    assert bytes(watcher.audio).startswith(before[1])
    assert watcher.audio_sha256 == story.audio.sha256


@pytest.mark.parametrize("name", [name for name in MODULES if name != "gateway"])
async def test_draining_service_loses_nothing_of_a_story(house: Cluster, name: str) -> None:
    """Its streams may end within the drain, the gateway waits for the next one, and the watcher notices nothing."""
    watcher = Watcher()
    async with house.channel() as channel:
        telling = watcher.tell(channel, spec(20 + len(name)))
        await watcher.until(lambda seen: bool(seen.text))
        assert 0 == await house.terminate(name)
        await house.start(name)
        await asyncio.wait_for(telling, 90)
    assert watcher.error is None
    assert watcher.done is not None
    assert common_pb2.STORY_STATE_READY == watcher.done.state, watcher.done.problems
    assert watcher.audio_sha256 == watcher.done.audio.sha256
