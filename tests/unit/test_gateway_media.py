"""What links give: places that are held while a book is sent, and feeds of what is there."""

import asyncio
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from pydantic import SecretStr

from gateway.door.web.feed import Feed
from gateway.door.web.links import FEED, Link, Links
from gateway.door.web.media import HoldingResponse
from servicekit.authentication import ServiceToken
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2

CHILD, KEPT, DELETED = (f"01981d2c-6a1b-7c3e-9f00-00000000000{number}" for number in range(3))


async def _pieces() -> Any:
    yield b"a book"


async def _nothing() -> Any:
    await asyncio.Event().wait()


async def test_place_of_a_book_is_held_until_it_was_sent() -> None:
    """A client that reads nothing keeps the file of its book, so it keeps the place as well."""
    released, reads, sending = asyncio.Event(), asyncio.Event(), asyncio.Event()
    held = AsyncExitStack()
    held.callback(released.set)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            sending.set()
            await reads.wait()

    response = HoldingResponse(_pieces(), held, {})
    task = asyncio.create_task(response({"type": "http", "asgi": {"spec_version": "2.4"}}, _nothing, send))
    await sending.wait()
    assert not released.is_set()
    reads.set()
    await task

    assert released.is_set()
    assert b"a book" == sent[1]["body"]


async def test_place_of_a_book_is_free_when_its_client_left() -> None:
    released = asyncio.Event()
    held = AsyncExitStack()
    held.callback(released.set)

    async def send(message: Any) -> None:
        raise OSError(message["type"])

    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the framework makes of a client that left
        await HoldingResponse(_pieces(), held, {})({"type": "http", "asgi": {"spec_version": "2.4"}}, _nothing, send)

    assert released.is_set()


async def test_feed_leaves_out_a_story_that_was_deleted_after_it_was_listed() -> None:
    summaries = [common_pb2.StorySummary(id=each, title=each, language_code="en") for each in (DELETED, KEPT)]
    for each in summaries:
        each.audio_duration.FromSeconds(60)
        each.create_time.GetCurrentTime()

    async def listed(*_: Any, **__: Any) -> gateway_pb2.ListStoriesResponse:
        return gateway_pb2.ListStoriesResponse(stories=summaries)

    async def read(request: gateway_pb2.GetStoryRequest, **_: Any) -> gateway_pb2.GetStoryResponse:
        if request.story_id == DELETED:
            none = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, none, none)
        audio = common_pb2.StoryAudio(content_type="audio/mpeg", size_bytes=7)
        return gateway_pb2.GetStoryResponse(story=common_pb2.Story(title="Kept", audio=audio))

    async def child(*_: Any, **__: Any) -> profile_pb2.GetChildResponse:
        return profile_pb2.GetChildResponse(child=common_pb2.Child(name="Mia"))

    links = Links(ServiceToken(SecretStr("the secret of links in tests")), lambda: "http://127.0.0.1")
    feed = Feed(SimpleNamespace(ListStories=listed, GetStory=read), SimpleNamespace(GetChild=child), links)
    text = (await feed.of(Link("local", FEED, CHILD), ())).decode()

    assert KEPT in text
    assert DELETED not in text
