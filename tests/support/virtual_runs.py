"""Runs of a gateway over services without a transport, in virtual time; storage is a record in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from types import SimpleNamespace
from typing import Any, TypeAlias

import grpc

from gateway.peers.retry import ProviderWait
from gateway.runs.checkpointer import Lease
from gateway.runs.context import RunContext
from gateway.runs.ledger import Ledger
from gateway.runs.live_story import LiveStory
from gateway.runs.run import Run
from gateway.settings import GatewaySettings
from servicekit.context import Caller, RequestContext, bound
from servicekit.errors import DomainError
from servicekit.status import to_status
from standins.virtual_time import loop_time
from story_service.wire.servicer import StoryServicer
from support.voice_virtual import VirtualVoice
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2
from tale.story.v1 import story_pb2

Serve: TypeAlias = Callable[[Any], Coroutine[Any, Any, object]]
"""Serves a call, given its caller."""


class _Call:
    """A call to a service; to the service it is the caller."""

    def __init__(self, serve: Serve) -> None:
        self._responses: asyncio.Queue[Any] = asyncio.Queue()
        self._call = asyncio.create_task(serve(self))
        self._call.add_done_callback(lambda _: self._responses.put_nowait(None))

    def time_remaining(self) -> None:
        """Returns that there is no deadline."""

    async def write(self, response: Any) -> None:
        """Takes a response."""
        self._responses.put_nowait(response)

    def cancel(self) -> None:
        """Ends the call."""
        self._call.cancel()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (response := await self._responses.get()) is not None:
            yield response
        try:
            await self._call
        except DomainError as error:
            details = ("grpc-status-details-bin", to_status(error).SerializeToString())
            raise grpc.aio.AioRpcError(error.code, grpc.aio.Metadata(), grpc.aio.Metadata(details)) from None


class _TwoWayCall:
    """A call whose requests are written one after the other."""

    def __init__(self, serve: Callable[[AsyncIterator[Any], Any], Coroutine[Any, Any, object]]) -> None:
        self._requests: asyncio.Queue[Any] = asyncio.Queue()
        self._call = _Call(lambda caller: serve(self._sent(), caller))
        self.cancel = self._call.cancel

    async def write(self, request: Any) -> None:
        """Sends a request."""
        self._requests.put_nowait(request)

    async def done_writing(self) -> None:
        """Sends no more."""
        self._requests.put_nowait(None)

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self._call)

    async def _sent(self) -> AsyncIterator[Any]:
        while (request := await self._requests.get()) is not None:
            yield request


class VirtualRuns:
    """Makes one story with `servicer`, in as many runs as it takes; what the record holds is all that they share.

    With `voice` a `told` story, whose text is complete, is narrated.
    """

    def __init__(
        self,
        servicer: StoryServicer | None = None,
        *,
        voice: VirtualVoice | None = None,
        told: common_pb2.Story | None = None,
        provider_wait: float = 600.0,
        **spec: Any,
    ) -> None:
        story = told or common_pb2.Story(child=common_pb2.Child(name="Mia", age=6))
        story.id = story.id or "018f0000-0000-7000-8000-000000000000"
        story.narrate, story.content_complete = voice is not None, told is not None
        self.record = storage_pb2.StoryRecord(
            story=story, spec=common_pb2.StorySpec(**{"child_id": story.id, "length_minutes": 1, **spec})
        )
        self._voice = voice
        self.requests: list[story_pb2.GenerateStoryRequest] = []
        self.warnings: list[common_pb2.Problem] = []
        self._servicer = servicer
        self._provider_wait = provider_wait

    @property
    def story(self) -> common_pb2.Story:
        """The story as stored."""
        return self.record.story

    async def run(self, *, killed_after: float | None = None) -> common_pb2.Story:
        """Returns the story after one more run, which is killed after so many seconds."""
        record = storage_pb2.StoryRecord()
        record.CopyFrom(self.record)
        record.run.lease_token += 1
        self.record.run.lease_token = record.run.lease_token
        checkpointer: Any = SimpleNamespace(store=self._store)
        peers: Any = SimpleNamespace(
            story=SimpleNamespace(GenerateStory=self._generate),
            voice=SimpleNamespace(SynthesizeSpeech=self._synthesize),
            storage=SimpleNamespace(FinishAudio=self._finish, ListStories=self._list),
        )
        lease = Lease(self.story.id, record.run.lease_token, seconds=1e9, since=loop_time(), clock=loop_time)
        ledger = Ledger(record.story)
        ledger.end_all(common_pb2.ATTEMPT_OUTCOME_CANCELLED, "RUN_LOST")
        context = RunContext(
            record=record,
            lease=lease,
            live=LiveStory(record.story),
            ledger=ledger,
            peers=peers,
            checkpointer=checkpointer,
            settings=GatewaySettings(provider_wait_seconds=self._provider_wait),
        )
        context.writing, context.narrating = (ProviderWait(self._provider_wait, clock=loop_time) for _ in range(2))
        with bound(RequestContext("r", Caller("o"))):
            run = Run(context, pickup_count=0)
        await asyncio.wait([run.task], timeout=killed_after)
        if not run.task.done():
            # As kill -9 does, it stores nothing more.
            checkpointer.store = None
            run._final = None
            run.task.cancel()
            await asyncio.wait([run.task])
        self.warnings += context.live.warnings
        self.record.run.work_duration.FromSeconds(1)
        return self.story

    def retry(self) -> None:
        """Notes that the caller requests the story once more, as RetryStory and NarrateStory do."""
        self.record.run.ClearField("work_duration")
        self.record.run.ClearField("narration")
        del self.record.run.segments[:]
        self.story.state = common_pb2.STORY_STATE_PENDING
        del self.story.problems[:]

    def _generate(self, request: story_pb2.GenerateStoryRequest, **_: Any) -> _Call:
        servicer = self._servicer
        assert servicer is not None
        self.requests.append(request)
        return _Call(lambda caller: servicer.GenerateStory(request, caller))

    def _synthesize(self, **_: Any) -> _TwoWayCall:
        assert self._voice is not None
        return _TwoWayCall(self._voice.speak)

    async def _list(self, _: storage_pb2.ListStoriesRequest, **__: Any) -> storage_pb2.ListStoriesResponse:
        return storage_pb2.ListStoriesResponse()

    async def _finish(self, request: storage_pb2.FinishAudioRequest, **_: Any) -> None:
        self.story.audio.audio_id = request.audio_id

    async def _store(self, checkpoint: storage_pb2.StoryCheckpoint, _: Lease) -> None:
        story = self.story
        attempts = {attempt.attempt_id: attempt for attempt in (*story.attempts, *checkpoint.attempts)}
        del story.attempts[:]
        story.attempts.extend(attempts.values())
        if checkpoint.HasField("text"):
            assert checkpoint.text.offset == len(story.content)
            story.content += checkpoint.text.text
        if checkpoint.HasField("outline"):
            story.outline.CopyFrom(checkpoint.outline)
        if checkpoint.title:
            assert not story.title
            story.title = checkpoint.title
        story.content_complete |= checkpoint.content_complete
        run = self.record.run
        if checkpoint.HasField("narration"):
            if checkpoint.narration.audio_id != run.narration.audio_id:
                del run.segments[:]
            run.narration.CopyFrom(checkpoint.narration)
        run.segments.extend(checkpoint.segments)
        story.state = checkpoint.state or story.state
        story.problems.extend(checkpoint.problems)
