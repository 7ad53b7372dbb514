"""Stories are found by words from the gateway's door and from the command line."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from support.house import House, house
from support.tale_command import SECONDS, environment

from servicekit.status import from_rpc_error
from standins.watcher import spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """A cluster over an empty folder."""
    async with house(tmp_path) as it:
        yield it


async def found(home: House, query: str) -> list[str]:
    """Ids of the stories that are found."""
    request = gateway_pb2.ListStoriesRequest(filter=common_pb2.StoryFilter(query=query))
    return [story.id for story in (await home.stub.ListStories(request, timeout=10)).stories]


async def test_a_told_story_is_found_by_its_words(home: House) -> None:
    """By those of its title and of its last sentence, and not by others; until it is deleted."""
    first, _ = await home.tell(spec(1, narrate=False)), await home.tell(spec(2, narrate=False))
    last = " ".join(first.text.split()[-6:]).replace('"', " ")
    assert [first.story_id] == await found(home, f'"{last}"')
    assert first.story_id in await found(home, f"{first.title} {last}")
    assert [] == await found(home, f"{last} zyxwinabolt")
    process = await asyncio.create_subprocess_exec(
        *("tale", "list", "--search", f'"{last}"', "--json"),
        env=environment(home.servers["gateway"].address),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, _ = await process.communicate()
    assert [first.story_id] == [story["id"] for story in json.loads(out)["stories"]]
    await home.stub.DeleteStory(gateway_pb2.DeleteStoryRequest(story_id=first.story_id), timeout=10)
    assert [] == await found(home, f'"{last}"')


async def test_a_query_that_is_too_long_is_told(home: House) -> None:
    """As every other field."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await found(home, "x" * 201)
    assert ["filter.query"] == [violation.field for violation in from_rpc_error(caught.value).violations]
