"""Two gateways with the timers of production: one is killed, or storage is gone for several times a lease."""

import asyncio
from pathlib import Path

import pytest

from standins.processes import Cluster
from standins.watcher import Watcher, gateway_stub, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

STORIES = 5
MOST_SECONDS = 10.0


@pytest.mark.long
async def test_stories_of_a_killed_gateway_go_on_within_ten_seconds(tmp_path: Path) -> None:
    """Watchers at the other gateway get more text, and each story becomes READY with what was heard before."""
    environment = {"DEFAULT_VOICE_PROVIDER": "mock", "STORY_OFFLINE_WORDS_PER_SECOND": "8"}
    cluster = Cluster(tmp_path, environment, replicas={"gateway": 2})
    loop = asyncio.get_running_loop()
    try:
        await cluster.start()
        await cluster.start("gateway", replica=2)
        async with cluster.channel("gateway", 1) as one, cluster.channel("gateway", 2) as two:
            here = [Watcher() for _ in range(STORIES)]
            telling = [watcher.tell(one, spec(seed, minutes=2)) for seed, watcher in enumerate(here)]
            for watcher in here:
                await watcher.until(lambda seen: bool(seen.text and seen.segments))
            there = [Watcher(story_id=watcher.story_id) for watcher in here]
            watching = [watcher.watch(two) for watcher in there]
            for watcher in there:
                await watcher.until(lambda seen: bool(seen.text))
            await cluster.kill("gateway", 1)
            since = loop.time()
            # What the killed gateway stored last may still be on its way to the watchers.
            await asyncio.sleep(1.5)
            begun = [len(watcher.text) for watcher in there]
            waits: list[float] = []

            async def goes_on(watcher: Watcher, before: int) -> None:
                await watcher.until(lambda seen: len(seen.text) > before)
                waits.append(loop.time() - since)

            await asyncio.gather(*map(goes_on, there, begun))
            await asyncio.gather(*telling, *watching)
    finally:
        await cluster.close()
    assert max(waits) < MOST_SECONDS, waits
    for first, second in zip(here, there, strict=True):
        assert second.done is not None
        assert common_pb2.STORY_STATE_READY == second.done.state
        assert second.text.startswith(first.text)
        assert bytes(second.audio[: len(first.audio)]) == bytes(first.audio)


@pytest.mark.long
async def test_storage_killed_for_several_leases_costs_no_second_call(tmp_path: Path) -> None:
    """Of two gateways neither takes a story of the other: each text has one attempt, each segment one call."""
    environment = {"DEFAULT_VOICE_PROVIDER": "mock", "STORY_OFFLINE_WORDS_PER_SECOND": "8"}
    cluster = Cluster(tmp_path, environment, replicas={"gateway": 2})
    try:
        await cluster.start()
        await cluster.start("gateway", replica=2)
        async with cluster.channel("gateway", 1) as one, cluster.channel("gateway", 2) as two:
            watchers = [Watcher() for _ in range(18)]
            doors = [one, two] * 9
            telling = [
                watcher.tell(door, spec(seed, minutes=1))
                for seed, (watcher, door) in enumerate(zip(watchers, doors, strict=True))
            ]
            for watcher in watchers:
                await watcher.until(lambda seen: bool(seen.text and seen.segments))
            await cluster.kill("storage")
            await asyncio.sleep(25)
            await cluster.start("storage")
            await asyncio.gather(*telling)
            kept = []
            for watcher, door in zip(watchers, doors, strict=True):
                await watcher.to_the_end(door)
                request = gateway_pb2.GetStoryRequest(story_id=watcher.story_id, view=common_pb2.STORY_VIEW_FULL)
                kept.append((await gateway_stub(door).GetStory(request, timeout=10)).story)
    finally:
        await cluster.close()
    for story in kept:
        kinds = [line.kind for line in story.attempts]
        assert common_pb2.STORY_STATE_READY == story.state, story.problems
        assert 1 == kinds.count(common_pb2.ATTEMPT_KIND_WRITING)
    # Stories share segments, such as the same title.
    keys = {segment.key for story in kept for segment in story.audio.segments}
    calls = [line for story in kept for line in story.attempts if line.kind == common_pb2.ATTEMPT_KIND_SPEECH_CALL]
    assert len(keys) == len(calls)
