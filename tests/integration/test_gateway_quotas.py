"""Quotas of callers through a whole cluster: what is refused, and what `tale usage` shows."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.house import house
from support.tale_command import tale

from gateway.door.keys import KeyFile
from servicekit.errors import DomainError
from servicekit.status import from_rpc_error
from standins.watcher import spec
from tale.gateway.v1 import gateway_pb2


async def refusal(call: Any) -> DomainError | None:
    """How a call is refused; None where it is served."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error)
    return None


async def test_parallel_stories_at_the_edge_of_a_quota(tmp_path: Path) -> None:
    """Exactly five of 24 are created through two gateways; the others learn when to come back."""
    async with (
        house(tmp_path, words_per_second=1, stories_at_once=5) as home,
        home.another_gateway(stories_at_once=5) as other,
    ):
        request = gateway_pb2.CreateStoryRequest(spec=spec(1, narrate=False))
        stubs = [home.stub, other.stub] * 12
        made = await asyncio.gather(*(refusal(stub.CreateStory(request)) for stub in stubs))
        refused = [each for each in made if each is not None]
        assert 24 - 5 == len(refused)
        assert {("CALLER_QUOTA_EXCEEDED", "stories_at_once", "5")} == {
            (each.reason, each.metadata["quota"], each.metadata["limit"]) for each in refused
        }
        assert all(each.retry_after for each in refused)


async def test_too_many_waiting_stories_are_refused_without_a_call_to_storage(tmp_path: Path) -> None:
    """One has the place, two wait, and the next caller is told to come back."""
    async with house(tmp_path, words_per_second=1, max_runs=1, max_waiting=2) as home:
        request = gateway_pb2.CreateStoryRequest(spec=spec(1, narrate=False))
        since = asyncio.get_running_loop().time()
        made = [await refusal(home.stub.CreateStory(request, timeout=9)) for _ in range(9)]
        assert [None, None, None] == made[:3]
        assert {"OVERLOADED"} == {each.reason for each in made[3:] if each}
        assert all(each and each.retry_after for each in made[3:])
        assert asyncio.get_running_loop().time() < since + 9


async def test_usage_is_counted_and_shown(tmp_path: Path) -> None:
    """By `tale usage`, to each caller its own, and to operators that of all."""
    file = KeyFile(tmp_path / "keys.json")
    mia, _ = file.create("mia")
    bound, _ = file.create("mia", children=("018f0000-0000-7000-8000-000000000001",))
    chief, _ = file.create("chief", role="operator")
    async with house(tmp_path / "data", auth="api_key", api_keys_file=tmp_path / "keys.json") as home:
        events = home.stub.TellStory(
            gateway_pb2.TellStoryRequest(spec=spec(1)), metadata=[("authorization", f"Bearer {mia}")]
        )
        async for _ in events:
            pass
        target = home.servers["gateway"].address
        _, own, _ = await tale(target, tmp_path, "usage", "--json", TALE_TOKEN=mia)
        code, table, _ = await tale(target, tmp_path, "usage", "--all-owners", TALE_TOKEN=chief)
        refused = await tale(target, tmp_path, "usage", "--all-owners", TALE_TOKEN=mia)
        child = await tale(target, tmp_path, "usage", TALE_TOKEN=bound)
        _, none, _ = await tale(target, tmp_path, "usage", "--days", "7", TALE_TOKEN=chief)
    entries = json.loads(own)["entries"]
    assert 1 == sum(int(each.get("stories", 0)) for each in entries)
    assert {"ATTEMPT_KIND_MODEL_CALL", "ATTEMPT_KIND_SPEECH_CALL"} == {
        each["kind"] for each in entries if "kind" in each
    }
    assert all(int(each["characters"]) > 100 for each in entries if "kind" in each)
    assert 0 == code
    assert "mia" in table
    assert "1 story, 0.00 US dollars in 30 days." in table
    assert "0 stories" in none
    assert [1, 1] == [refused[0], child[0]]
    assert "Only operators" in refused[2]


@pytest.mark.parametrize("per_minute", [5])
async def test_requests_a_minute_are_bounded(tmp_path: Path, per_minute: int) -> None:
    """Over all methods, but for health checks."""
    async with house(tmp_path, requests_per_minute=per_minute) as home:
        request = gateway_pb2.ListStoriesRequest()
        made = [await refusal(home.stub.ListStories(request)) for _ in range(per_minute + 3)]
    refused = [each for each in made if each is not None]
    assert 2 <= len(refused) <= 3
    assert {"RATE_LIMITED"} == {each.reason for each in refused}
    assert all(each.retry_after for each in refused)
