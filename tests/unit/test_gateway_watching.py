"""One watcher with scripted runs and storage: every byte once, whatever happens to the story meanwhile."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import pytest

from gateway.runs.followed_stories import FollowedStories
from gateway.runs.live_story import End, LiveStory
from gateway.watch.audio import AudioBuffer
from gateway.watch.cursor import Cursor
from gateway.watch.watcher import Sources, Watching
from servicekit.context import Caller, RequestContext, bound
from servicekit.errors import DomainError, not_found
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.storage.v1 import storage_pb2

WRITING, READY = common_pb2.STORY_STATE_WRITING, common_pb2.STORY_STATE_READY
DATA = {name: random.Random(name).randbytes(300) for name in ("a", "b")}
Response = gateway_pb2.WatchStoryResponse


@pytest.fixture(autouse=True)
def _context() -> Iterator[None]:
    """Calls carry a request id and an owner."""
    with bound(RequestContext("r", Caller("o"))):
        yield


class House:
    """Plays runs and storage. `audio` are the narrations that storage has."""

    def __init__(self) -> None:
        self.running: LiveStory | None = None
        self.records: list[storage_pb2.StoryRecord] = []
        self.audio = dict(DATA)
        self.hold: asyncio.Event | None = None
        self.reading = asyncio.Event()
        self.adopted: list[str] = []
        self.followed = FollowedStories()

    def live(self, story_id: str, *, owner: str) -> LiveStory | None:
        assert story_id == "s"
        assert owner == "o"
        return self.running

    def refuse_if_draining(self) -> None:
        """It is not."""

    async def adopt(self, story_ids: list[str]) -> None:
        self.adopted += story_ids

    async def GetStory(  # noqa: N802
        self, request: storage_pb2.GetStoryRequest, **_: Any
    ) -> storage_pb2.GetStoryResponse:
        del request
        return storage_pb2.GetStoryResponse(record=self.records.pop(0) if len(self.records) > 1 else self.records[0])

    async def read(self, request: storage_pb2.ReadAudioRequest) -> AsyncGenerator[storage_pb2.ReadAudioResponse, None]:
        self.reading.set()
        if self.hold is not None:
            await self.hold.wait()
        if request.audio_id not in self.audio:
            raise not_found("AUDIO_NOT_FOUND", "None.")
        response = storage_pb2.ReadAudioResponse()
        response.chunk.data = self.audio[request.audio_id][request.offset : request.offset + request.limit]
        yield response

    def watch(self, *, heartbeat: float = 60.0, **position: Any) -> AsyncIterator[Response]:
        """A watcher with audio."""
        cursor = Cursor(Response, "s", gateway_pb2.WatchStoryRequest(**position))
        house: Any = self
        sources = Sources(house, house, self.followed, house, AudioBuffer(house), heartbeat)
        return Watching(cursor, sources, owner="o", include_audio=True).responses()


def narrate(live: LiveStory, audio_id: str, count: int = 3) -> None:
    """Begins a narration and adds so many segments of 100 bytes."""
    live.begin_audio(common_pb2.NarrationHeader(audio_id=audio_id))
    add(live, *range(count))


def add(live: LiveStory, *indexes: int) -> None:
    """Adds these segments."""
    live.add_segments(
        common_pb2.Segment(index=index, audio=common_pb2.Span(start=100 * index, end=100 * (index + 1)))
        for index in indexes
    )


def ended(audio_id: str) -> storage_pb2.StoryRecord:
    """The story as stored, with that audio."""
    record = storage_pb2.StoryRecord(story=common_pb2.Story(id="s", state=READY, title="T", content="once"))
    record.story.audio.audio_id, record.story.audio.size_bytes = audio_id, 300
    live = LiveStory(common_pb2.Story())
    add(live, 0, 1, 2)
    record.story.audio.segments.extend(live.segments)
    return record


def story() -> LiveStory:
    """A story that is being written."""
    return LiveStory(common_pb2.Story(id="s", state=WRITING))


class Listener:
    """Notes what it hears, from byte 0 of each narration that is announced."""

    def __init__(self) -> None:
        self.audio_id = ""
        self.heard = b""
        self.beats = 0
        self.done: common_pb2.Story | None = None

    async def listen(self, responses: AsyncIterator[Response]) -> "Listener":
        """To the end."""
        async with asyncio.timeout(10):
            async for response in responses:
                self.see(response.event)
        return self

    def see(self, event: gateway_pb2.StoryEvent) -> None:
        """One event."""
        match event.WhichOneof("event"):
            case "audio_header":
                self.audio_id, self.heard = event.audio_header.audio_id, b""
            case "audio":
                assert event.audio.audio_id == self.audio_id
                assert event.audio.offset == len(self.heard)
                self.heard += event.audio.chunk
            case "state":
                self.beats += 1
            case "done":
                self.done = event.done.story


async def test_live_story_is_heard_to_its_end_after_its_run_has_ended() -> None:
    """The bytes are in storage; the record is not read again."""
    house = House()
    house.running = live = story()
    narrate(live, "a")
    live.finish(End.DONE, ended("a").story)
    house.running, house.records = None, [ended("a")]
    stored = await Listener().listen(house.watch())
    assert stored.heard == DATA["a"]

    house.running = live = story()
    house.records = []
    listening = asyncio.create_task(Listener().listen(house.watch()))
    await asyncio.sleep(0)
    narrate(live, "a", 1)
    await house.reading.wait()
    add(live, 1, 2)
    live.finish(End.DONE, ended("a").story)
    assert (await listening).heard == DATA["a"]


async def test_no_byte_is_heard_before_its_segment_is_in_the_manifest() -> None:
    """Though storage would give it."""
    house = House()
    house.running = live = story()
    narrate(live, "a", 1)
    responses, listener = house.watch(), Listener()
    while len(listener.heard) < 100:
        listener.see((await anext(responses)).event)
    further = asyncio.ensure_future(anext(responses))
    await asyncio.sleep(0.01)
    assert not further.done()
    add(live, 1)
    listener.see((await further).event)
    while len(listener.heard) < 200:
        listener.see((await anext(responses)).event)
    assert listener.heard == DATA["a"][:200]


async def test_narration_that_starts_over_is_heard_from_byte_0() -> None:
    """Also where bytes of the one before were just being read."""
    house = House()
    house.running = live = story()
    house.hold = asyncio.Event()
    narrate(live, "a")
    listening = asyncio.create_task(Listener().listen(house.watch()))
    await house.reading.wait()
    narrate(live, "b")
    del house.audio["a"]
    house.hold.set()
    live.finish(End.DONE, ended("b").story)
    listener = await listening
    assert listener.audio_id == "b"
    assert listener.heard == DATA["b"]


async def test_audio_of_another_narration_has_its_own_id() -> None:
    """If a narration starts over while the watcher still receives the last response."""
    house = House()
    house.running = live = story()
    narrate(live, "a", 1)
    responses, listener = house.watch(), Listener()
    while (event := (await anext(responses)).event).WhichOneof("event") != "segment":
        listener.see(event)
    narrate(live, "b")
    live.finish(End.DONE, ended("b").story)
    await listener.listen(responses)
    assert listener.audio_id == "b"
    assert listener.heard == DATA["b"]


async def test_heartbeats_continue_while_storage_is_slow() -> None:
    """A watcher can tell a slow storage from a dead gateway."""
    house = House()
    house.running = live = story()
    house.hold = asyncio.Event()
    narrate(live, "a")
    responses, listener = house.watch(heartbeat=0.01), Listener()
    async with asyncio.timeout(10):
        while listener.beats < 4:
            listener.see((await anext(responses)).event)
    house.hold.set()
    live.finish(End.DONE, ended("a").story)
    assert (await listener.listen(responses)).heard == DATA["a"]


async def test_watcher_of_a_failed_narration_gets_the_earlier_audio() -> None:
    """The narration that came to nothing was announced last, so the stored one is announced."""
    house = House()
    house.running = live = story()
    narrate(live, "b", 1)
    listening = asyncio.create_task(Listener().listen(house.watch()))
    await house.reading.wait()
    house.running, house.records = None, [ended("a")]
    live.finish(End.DONE, ended("a").story)
    listener = await listening
    assert listener.audio_id == "a"
    assert listener.heard == DATA["a"]


async def test_replaced_audio_is_streamed_as_it_is_now() -> None:
    """It was narrated again between reading the record and reading its bytes."""
    house = House()
    del house.audio["a"]
    house.records = [ended("a"), ended("a"), ended("b")]
    listener = await Listener().listen(house.watch())
    assert listener.audio_id == "b"
    assert listener.heard == DATA["b"]


async def test_stored_audio_that_is_lost_is_an_error() -> None:
    """Not an endless search."""
    house = House()
    house.audio = {}
    house.records = [ended("a")]
    with pytest.raises(DomainError, match="AUDIO_NOT_FOUND"):
        await Listener().listen(house.watch())


async def test_watcher_beyond_the_end_is_refused() -> None:
    """The field is named."""
    house = House()
    house.records = [ended("a")]
    with pytest.raises(DomainError, match="audio_offset"):
        await Listener().listen(house.watch(audio_id="a", audio_offset=301))


async def test_watched_orphaned_story_is_adopted_at_once() -> None:
    """And followed until a run is seen."""
    house = House()
    orphan = storage_pb2.StoryRecord(story=common_pb2.Story(id="s", state=WRITING))
    house.records = [orphan]
    responses = house.watch()
    assert (await anext(responses)).event.state.state == WRITING
    assert house.adopted == ["s"]


async def test_followed_story_is_shown_to_its_end_from_one_read() -> None:
    """No watcher reads it once more."""
    house = House()
    followed = storage_pb2.StoryRecord(story=common_pb2.Story(id="s", state=WRITING))
    followed.run.lease_expire_time.GetCurrentTime()
    house.records = [followed]
    responses, listener = house.watch(), Listener()
    listener.see((await anext(responses)).event)
    house.records = []
    house.followed.release("s", LiveStory.ended(ended("a")))
    await listener.listen(responses)
    assert listener.heard == DATA["a"]
    assert listener.done is not None
