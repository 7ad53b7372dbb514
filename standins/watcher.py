"""Follows a story over plain gRPC and checks that its events come in order, without gap or repetition."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2, gateway_pb2_grpc

ENDED = {
    common_pb2.STORY_STATE_READY,
    common_pb2.STORY_STATE_READY_WITHOUT_AUDIO,
    common_pb2.STORY_STATE_FAILED,
    common_pb2.STORY_STATE_CANCELLED,
}


def gateway_stub(channel: grpc.aio.Channel) -> Any:
    """Returns the gateway's stub."""
    return gateway_pb2_grpc.GatewayServiceStub(channel)


def spec(seed: int, *, minutes: int = 1, narrate: bool = True) -> common_pb2.StorySpec:
    """Returns a request whose story is the same for the same seed."""
    return common_pb2.StorySpec(
        child=common_pb2.Child(name="Mia", age=6, gender=common_pb2.GENDER_FEMALE, interests=["dragons", "the sea"]),
        wish="a dragon who cannot sleep",
        moral="kindness",
        length_minutes=minutes,
        seed=seed,
        narrate=narrate,
    )


@dataclass(slots=True)
class Watcher:
    """What was received of a story so far."""

    story_id: str = ""
    title: str = ""
    text: str = ""
    audio_id: str = ""
    header: common_pb2.NarrationHeader | None = None
    audio: bytearray = field(default_factory=bytearray)
    segments: list[common_pb2.Segment] = field(default_factory=list)
    states: list[int] = field(default_factory=list)
    warnings: list[common_pb2.Problem] = field(default_factory=list)
    waiting: list[common_pb2.Waiting | None] = field(default_factory=list)
    """What it waited for, one after the other; None where it continued."""
    done: common_pb2.Story | None = None
    error: grpc.aio.AioRpcError | None = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def see(self, event: gateway_pb2.StoryEvent) -> None:  # noqa: C901 - one case an event
        """Adds one event; AssertionError if it does not follow the events before it."""
        self.story_id = event.story_id
        match event.WhichOneof("event"):
            case "state":
                if not self.states or self.states[-1] != event.state.state:
                    self.states.append(event.state.state)
                progress = event.state.progress
                waiting = progress.waiting if progress.HasField("waiting") else None
                if waiting != (self.waiting[-1] if self.waiting else None):
                    self.waiting.append(waiting)
            case "title":
                assert self.title in {"", event.title.title}
                self.title = event.title.title
            case "text":
                assert len(self.text) == event.text.offset
                self.text += event.text.delta
            case "audio_header":
                self.header = event.audio_header
                if self.audio_id != event.audio_header.audio_id:
                    self.audio_id = event.audio_header.audio_id
                    self.audio.clear()
                    self.segments.clear()
            case "audio":
                assert (self.audio_id, len(self.audio)) == (event.audio.audio_id, event.audio.offset)
                self.audio += event.audio.chunk
            case "segment":
                if event.segment.segment.index >= len(self.segments):
                    assert len(self.segments) == event.segment.segment.index
                    self.segments.append(event.segment.segment)
            case "warning":
                self.warnings.append(event.warning)
            case "done":
                self.done = event.done.story

    async def follow(self, responses: AsyncIterator[Any]) -> None:
        """Reads events until the stream ends; a stream that fails leaves its error."""
        try:
            async for response in responses:
                self.see(response.event)
                async with self.changed:
                    self.changed.notify_all()
        except grpc.aio.AioRpcError as error:
            self.error = error
        async with self.changed:
            self.changed.notify_all()

    def tell(self, channel: grpc.aio.Channel, wish: common_pb2.StorySpec, request_id: str = "") -> "asyncio.Task[None]":
        """Calls TellStory and follows the story."""
        request = gateway_pb2.TellStoryRequest(request_id=request_id, spec=wish, include_audio=True)
        return asyncio.create_task(
            self.follow(gateway_stub(channel).TellStory(request, timeout=120, wait_for_ready=True))
        )

    def watch(self, channel: grpc.aio.Channel) -> "asyncio.Task[None]":
        """Calls WatchStory from the position reached."""
        self.error = None
        request = gateway_pb2.WatchStoryRequest(
            story_id=self.story_id,
            include_audio=True,
            text_offset=len(self.text),
            audio_id=self.audio_id,
            audio_offset=len(self.audio),
        )
        return asyncio.create_task(
            self.follow(gateway_stub(channel).WatchStory(request, timeout=120, wait_for_ready=True))
        )

    async def until(self, condition: Any) -> None:
        """Returns once `condition(self)` holds; AssertionError if the stream ends before, or after a minute."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60), self.changed:
                await self.changed.wait_for(lambda: condition(self) or self.done is not None or self.error is not None)
        problems = [] if self.done is None else self.done.problems
        assert condition(self), (self.states, self.error, [str(each) for each in (*problems, *self.warnings)])

    async def to_the_end(self, channel: grpc.aio.Channel) -> common_pb2.Story:
        """Watches over as many streams as necessary until the story is done."""
        async with asyncio.timeout(90):
            while self.done is None:
                await self.watch(channel)
                if self.done is None:
                    assert self.error is None or self.error.code() is grpc.StatusCode.UNAVAILABLE, self.error
                    await asyncio.sleep(0.1)
        return self.done

    @property
    def audio_sha256(self) -> bytes:
        """Returns the digest of the received audio."""
        return hashlib.sha256(self.audio).digest()
