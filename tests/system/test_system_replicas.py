"""Replicas, kills, crashes and stops of the cluster in containers, in the middle of stories."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from support.compose import Compose

from standins.processes import MODULES
from standins.watcher import Watcher, spec
from tale.common.v1 import common_pb2
from tale.story.v1 import story_pb2, story_pb2_grpc
from tale.voice.v1 import voice_pb2, voice_pb2_grpc
from tale_client import AsyncTaleClient

pytestmark = pytest.mark.system

# A story of a minute takes six seconds; a gateway that died is missed after five.
PACE = {"STORY_OFFLINE_WORDS_PER_SECOND": "25", "LEASE_SECONDS": "5", "PICKUP_INTERVAL_SECONDS": "1"}
DOUBLED = ("--scale", "story=2", "--scale", "voice=2")
WRITING_AND_NARRATION = {"story": common_pb2.ATTEMPT_KIND_WRITING, "voice": common_pb2.ATTEMPT_KIND_NARRATION}


@pytest_asyncio.fixture(scope="module")
async def cluster(house: Compose) -> AsyncIterator[Compose]:
    """Two replicas of story and voice, at a pace at which something can happen to a story."""
    await house.fresh(*DOUBLED, **PACE)
    yield house


async def test_a_killed_replica_of_each_loses_no_story(cluster: Compose) -> None:
    """Stories at both replicas, one of each killed: all READY on streams that never broke, told as they are stored."""
    watchers = [Watcher() for _ in range(4)]
    async with cluster.channel() as channel:
        await both_replicas_answer(cluster, channel)
        telling = [watcher.tell(channel, spec(seed)) for seed, watcher in enumerate(watchers, 10)]
        await asyncio.gather(*(watcher.until(lambda seen: seen.text and seen.segments) for watcher in watchers))
        victims = [(await cluster.containers(service))[0]["Id"] for service in ("story", "voice")]
        await cluster.run("docker", "kill", *victims)
        assert [None] * 4 == [watcher.done for watcher in watchers]
        await asyncio.gather(*telling)
    assert [None] * 4 == [watcher.error for watcher in watchers]
    attempts = {"story": 0, "voice": 0}
    async with AsyncTaleClient(cluster.target) as client:
        for watcher in watchers:
            story = await client.get_story(watcher.story_id, full=True)
            assert common_pb2.STORY_STATE_READY == story.state, story.problems
            assert (story.title, story.content) == (watcher.title, watcher.text)
            assert story.audio.sha256 == watcher.audio_sha256
            for service, kind in WRITING_AND_NARRATION.items():
                attempts[service] += sum(attempt.kind == kind for attempt in story.attempts)
    # Some of the four were at a victim, and went on at the other replica by an attempt more.
    assert 4 < min(attempts.values()), attempts


async def test_a_crashed_gateway_comes_back_and_goes_on(cluster: Compose) -> None:
    """Docker starts it again; the client hears the rest of the story where it was cut."""
    heard, crashed = Watcher(), False
    async with AsyncTaleClient(cluster.target) as client:
        async for event in client.tell(spec(20), include_audio=True):
            heard.see(event)
            if heard.segments and heard.text and not crashed:
                assert heard.done is None
                # Everything but init, which no signal from inside reaches.
                await cluster.attempt("docker", "compose", "exec", "-T", "gateway", "sh", "-c", "kill -9 -1")
                crashed = True
    assert heard.done is not None
    assert common_pb2.STORY_STATE_READY == heard.done.state, heard.done.problems
    assert heard.done.content == heard.text
    assert heard.done.audio.sha256 == heard.audio_sha256
    (container,) = await cluster.containers("gateway")
    assert 1 == container["RestartCount"]


async def test_a_stop_drains_and_the_story_goes_on_at_the_next_start(cluster: Compose) -> None:
    """Every process ends by itself, in good order, well before it would be killed."""
    # Docker leaves alone what `docker kill` has ended.
    await cluster("up", "--detach", "--wait", *DOUBLED)
    heard = Watcher()
    async with cluster.channel() as channel:
        telling = heard.tell(channel, spec(30))
        await heard.until(lambda seen: seen.text and seen.segments)
        await cluster("stop")
        await telling
    assert heard.done is None
    assert heard.error is not None
    ended = [each["State"] for service in MODULES for each in await cluster.containers(service)]
    assert [("exited", 0)] * 6 == [(each["Status"], each["ExitCode"]) for each in ended]
    await cluster("up", "--detach", "--wait", *DOUBLED)
    async with cluster.channel() as channel:
        story = await heard.to_the_end(channel)
    assert common_pb2.STORY_STATE_READY == story.state, story.problems
    assert (story.content, story.audio.sha256) == (heard.text, heard.audio_sha256)


async def both_replicas_answer(cluster: Compose, channel: grpc.aio.Channel) -> None:
    """Returns once the gateway spreads its calls over two replicas of story and of voice.

    What it only forwards goes over the same channels as what its stories need.
    """
    containers = [each["Id"] for service in WRITING_AND_NARRATION for each in await cluster.containers(service)]
    assert 4 == len(containers)
    story: Any = story_pb2_grpc.StoryServiceStub(channel)
    voice: Any = voice_pb2_grpc.VoiceServiceStub(channel)
    async with asyncio.timeout(60):
        while True:
            await story.ListModels(story_pb2.ListModelsRequest(), timeout=10)
            await voice.ListProviders(voice_pb2.ListProvidersRequest(), timeout=10)
            logs = [await cluster.run("docker", "logs", each) for each in containers]
            if all("/ListModels" in log or "/ListProviders" in log for log in logs):
                return
