"""The sync client over real connections: it runs in a thread, the servers on the test's loop."""

import asyncio
import hashlib
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from support.cutting_proxy import cutting_proxy, refusing
from support.house import house
from support.scripted_gateway import Hold, scripted_gateway

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client import ReconnectPolicy, RetryPolicy, TaleClient, TaleError
from tale_client.calls import Backoff

ID = "0197a5a0-0000-7000-8000-000000000001"
SPEC = common_pb2.StorySpec(child=common_pb2.Child(name="Ann", age=6), length_minutes=1, seed=7)
NOW = Backoff(initial=0.0)


def client_of(target: str, *, timeout: float = 30.0, connect_timeout: float = 10.0) -> TaleClient:
    return TaleClient(
        target,
        timeout=timeout,
        connect_timeout=connect_timeout,
        retry=RetryPolicy(backoff=NOW),
        reconnect=ReconnectPolicy(backoff=NOW),
    )


async def test_whole_story_with_the_real_services(tmp_path: Path) -> None:
    """Creates, follows, saves, rates, lists and deletes a story for a saved child, without an event loop."""
    place = tmp_path / "story.mp3"

    def work(target: str) -> tuple[list[gateway_pb2.StoryEvent], common_pb2.StoryAudio, list[str], list[str]]:
        with client_of(target) as client:
            child = client.create_child(common_pb2.Child(name="Ann", age=6))
            spec = common_pb2.StorySpec(child_id=child.id, length_minutes=1)
            events = list(client.tell(spec, include_audio=True))
            story_id = events[-1].story_id
            audio = client.save_audio(story_id, place)
            client.rate_story(story_id, 9)
            rated = [story.id for story in client.list_stories(common_pb2.StoryFilter(min_rating=9))]
            client.delete_story(story_id)
            assert client.system_status().healthy
            return events, audio, rated, [story.id for story in client.list_stories()]

    async with house(tmp_path / "data") as cluster:
        events, audio, rated, left = await asyncio.to_thread(work, cluster.servers["gateway"].address)
    story = events[-1].done.story
    assert common_pb2.STORY_STATE_READY == story.state
    assert story.content == "".join(event.text.delta for event in events)
    sound = place.read_bytes()
    assert sound == b"".join(event.audio.chunk for event in events)
    assert len(sound) == audio.size_bytes
    assert hashlib.sha256(sound).digest() == audio.sha256
    assert [story.id] == rated
    assert [] == left


def rest_of(content: str, message: Message) -> list[gateway_pb2.StoryEvent]:
    """Returns the events of a story from the position in `message`."""
    assert isinstance(message, gateway_pb2.TellStoryRequest | gateway_pb2.WatchStoryRequest)
    starts = range(message.text_offset, len(content), 97)
    texts = [gateway_pb2.TextEvent(offset=at, delta=content[at : at + 97]) for at in starts]
    story = common_pb2.Story(id=ID, state=common_pb2.STORY_STATE_READY, content=content)
    return [
        *(gateway_pb2.StoryEvent(story_id=ID, text=text) for text in texts),
        gateway_pb2.StoryEvent(story_id=ID, done=gateway_pb2.DoneEvent(story=story)),
    ]


async def test_connection_cut_anywhere_gives_the_same_story() -> None:
    """TCP connections that are cut inside messages: the text arrives character for character."""
    content = "".join(f"Sentence number {n} über Eulen. " for n in range(1500))

    def work(target: str) -> str:
        with client_of(target) as client:
            return "".join(event.text.delta for event in client.tell(SPEC))

    async with scripted_gateway() as gateway:
        gateway.answer(
            "TellStory",
            lambda request: [gateway_pb2.TellStoryResponse(event=event) for event in rest_of(content, request)],
        )
        gateway.answer(
            "WatchStory",
            lambda request: [gateway_pb2.WatchStoryResponse(event=event) for event in rest_of(content, request)],
        )
        async with cutting_proxy(gateway.target, [400, 3_000, 9_000, 20_001]) as proxy:
            assert content == await asyncio.to_thread(work, proxy.target)
            assert 0 == proxy.left


async def test_unanswered_call_ends_at_its_deadline() -> None:
    """The timeout travels as the call's deadline."""
    hold = Hold()

    def work(target: str) -> None:
        with client_of(target, timeout=0.3) as client:
            client.get_story(ID)

    async with scripted_gateway() as gateway:
        gateway.queue("GetStory", hold)
        with pytest.raises(TaleError) as caught:
            await asyncio.to_thread(work, gateway.target)
        assert hold.reached.is_set()
    assert grpc.StatusCode.DEADLINE_EXCEEDED is caught.value.code


async def test_missing_gateway_is_named() -> None:
    """No gateway: GATEWAY_UNREACHABLE after the connect timeout, for streams too."""

    def work() -> list[str]:
        reasons = []
        with client_of("127.0.0.1:1", connect_timeout=0.05) as client:
            for call in (lambda: client.get_story(ID), lambda: next(client.watch(ID))):
                with pytest.raises(TaleError) as caught:
                    call()
                reasons.append(caught.value.reason)
        return reasons

    assert ["GATEWAY_UNREACHABLE"] * 2 == await asyncio.to_thread(work)


async def test_starting_gateway_is_waited_for() -> None:
    """A call that is made before the gateway listens succeeds."""

    def work(target: str) -> str:
        with client_of(target) as client:
            return client.get_story(ID).id

    async with scripted_gateway() as gateway:
        gateway.queue("GetStory", gateway_pb2.GetStoryResponse(story=common_pb2.Story(id=ID)))
        async with refusing() as (port, tried):
            call = asyncio.create_task(asyncio.to_thread(work, f"127.0.0.1:{port}"))
            await tried.wait()
        async with cutting_proxy(gateway.target, [], port=port):
            assert ID == await call
