"""The profile `scale`: two of each stateless service, and a proxy before both gateways."""

import hashlib
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.compose import ROOT, Compose

from standins.steady_load import steady_load
from standins.watcher import Watcher, gateway_stub, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client import AsyncTaleClient

pytestmark = pytest.mark.system

# A story of two minutes takes twenty seconds: longer than proxies wait by default.
PACE = {"COMPOSE_PROFILES": "scale", "STORY_OFFLINE_WORDS_PER_SECOND": "14", "LEASE_SECONDS": "5"}
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "upgrading.md").read_text(), re.MULTILINE | re.DOTALL)
REPLICAS = ("storage", "voice", "voice-2", "story", "story-2", "gateway", "gateway-2")


@pytest_asyncio.fixture(scope="module")
async def cluster(house: Compose) -> AsyncIterator[Compose]:
    """As `COMPOSE_PROFILES=scale docker compose up` makes it."""
    await house.fresh(**PACE)
    yield house


async def cancelled(channel: grpc.aio.Channel, story_id: str) -> None:
    """Cancels a story."""
    await gateway_stub(channel).CancelStory(gateway_pb2.CancelStoryRequest(story_id=story_id), timeout=20)


async def answered(cluster: Compose, gateway: str, rpc: str, *, before: str = "") -> bool:
    """Whether a gateway's log has a call of that RPC that its log did not have before."""
    return rpc in (await cluster("logs", "--no-log-prefix", gateway)).removeprefix(before)


async def test_story_told_on_one_gateway_is_followed_and_cancelled_on_the_other(cluster: Compose) -> None:
    """Each by its own port: the same text, and both callers hear of the end."""
    told, followed = Watcher(), Watcher()
    async with cluster.channel() as first, cluster.channel(cluster.second) as second:
        telling = told.tell(first, spec(1))
        await told.until(lambda seen: seen.text and seen.segments)
        followed.story_id = told.story_id
        following = followed.watch(second)
        await followed.until(lambda seen: seen.text and seen.audio)
        assert told.done is None
        assert told.text.startswith(followed.text) or followed.text.startswith(told.text)
        began = time.monotonic()
        await cancelled(second, told.story_id)
        await telling
        await following
    assert time.monotonic() - began < 5
    for watcher in (told, followed):
        assert watcher.error is None
        assert watcher.done is not None
        assert common_pb2.STORY_STATE_CANCELLED == watcher.done.state
    assert told.text == followed.text


async def test_proxy_passes_streams_on_at_once_and_for_as_long_as_they_last(cluster: Compose) -> None:
    """Text and audio come while the story is written; told and followed over two connections, heard alike."""
    told, followed = Watcher(), Watcher()
    async with cluster.channel(cluster.proxy) as one, cluster.channel(cluster.proxy) as other:
        began = time.monotonic()
        telling = told.tell(one, spec(2, minutes=2))
        await told.until(lambda seen: seen.text and seen.audio)
        heard = time.monotonic() - began
        followed.story_id = told.story_id
        following = followed.watch(other)
        await telling
        lasted = time.monotonic() - began
        await following
    assert heard < lasted / 2
    assert lasted > 16
    for watcher in (told, followed):
        assert watcher.error is None
        assert watcher.done is not None
        assert common_pb2.STORY_STATE_READY == watcher.done.state, watcher.done.problems
        assert watcher.done.audio.sha256 == watcher.audio_sha256


async def test_proxy_distributes_calls_over_both_gateways(cluster: Compose) -> None:
    """Each has answered some of them."""
    logs = {name: await cluster("logs", "--no-log-prefix", name) for name in ("gateway", "gateway-2")}
    async with AsyncTaleClient(cluster.proxy) as client:
        for _ in range(30):
            assert [] != [story async for story in client.list_stories()]
    for name, log in logs.items():
        assert await answered(cluster, name, "ListStories", before=log), name


async def test_proxy_cancels_a_story_through_either_gateway(cluster: Compose) -> None:
    """Whichever gateway it asks."""
    told = Watcher()
    async with cluster.channel(cluster.proxy) as channel:
        telling = told.tell(channel, spec(3))
        await told.until(lambda seen: seen.text)
        await cancelled(channel, told.story_id)
        await telling
    assert told.done is not None
    assert common_pb2.STORY_STATE_CANCELLED == told.done.state


async def test_proxy_serves_while_one_gateway_is_dead(cluster: Compose) -> None:
    """A health check and a story, by the other one."""
    (victim,) = await cluster.containers("gateway-2")
    await cluster.run("docker", "kill", victim["Id"])
    try:
        async with steady_load(cluster.proxy, tellers=1) as load:
            await load.more_stories(0)
        assert [] == load.failures
        async with cluster.channel(cluster.proxy) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert health_pb2.HealthCheckResponse.SERVING == answer.status
    finally:
        await cluster("up", "--detach", "--wait")


async def test_page_comes_through_the_proxy(cluster: Compose) -> None:
    """What is no gRPC goes to the gateways' other port."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{cluster.proxied_page}/") as answer:
        assert 200 == answer.status
        assert "text/html" in answer.headers["content-type"]


async def test_upgrade_as_documented_fails_no_call(cluster: Compose) -> None:
    """docs/upgrading.md: every container is replaced under load through the proxy, and the backup brings all back."""
    backup, build, replace, restore = BLOCKS
    cluster.environment["REVISION"] = "the-next-one"
    async with cluster.channel() as channel:
        told = Watcher()
        await told.tell(channel, spec(4))
        assert told.done is not None
    before = {name: (await cluster.containers(name))[0]["Id"] for name in REPLICAS}
    async with steady_load(cluster.proxy) as load:
        await load.more_stories(0)
        await cluster.run("bash", "-euo", "pipefail", "-c", backup)
        await cluster.run("bash", "-euo", "pipefail", "-c", build)
        await cluster.run("bash", "-euo", "pipefail", "-c", replace)
        await load.more_stories(0)
    assert [] == load.failures
    assert load.calls > 20
    for name in REPLICAS:
        (container,) = await cluster.containers(name)
        assert before[name] != container["Id"]
        assert "the-next-one" == container["Config"]["Labels"]["org.opencontainers.image.revision"]
    await cluster.run("bash", "-euo", "pipefail", "-c", restore)
    async with AsyncTaleClient(cluster.target) as client:
        restored = await client.get_story(told.story_id, full=True)
        sound = b"".join([chunk async for chunk in client.read_audio(told.story_id)])
    assert (told.text, told.audio_sha256) == (restored.content, hashlib.sha256(sound).digest())
