"""A run against a scripted story service and storage: how long it may work, and what it does while storage is away."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.runs.checkpointer import Checkpointer, Lease
from gateway.runs.context import RunContext
from gateway.runs.ledger import Ledger
from gateway.runs.live_story import LiveStory
from gateway.runs.run import Run
from gateway.settings import GatewaySettings
from servicekit.context import Caller, RequestContext, bound
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2
from tale.story.v1 import story_pb2

TEXT = "The owl slept."


@pytest.fixture(autouse=True)
def _context() -> Iterator[None]:
    """Calls carry a request id and an owner."""
    with bound(RequestContext("r", Caller("o"))):
        yield


class Storage:
    """Plays storage: accepts every checkpoint."""

    def __init__(self) -> None:
        self.checkpoints: list[storage_pb2.StoryCheckpoint] = []

    async def store(self, checkpoint: storage_pb2.StoryCheckpoint, _: Lease) -> None:
        self.checkpoints.append(checkpoint)


class Stream:
    """One GenerateStory call, to its end."""

    def cancel(self) -> None:
        """Has nothing to cancel."""

    async def __aiter__(self) -> AsyncIterator[story_pb2.GenerateStoryResponse]:
        yield story_pb2.GenerateStoryResponse(title=story_pb2.GenerationTitle(title="Owl"))
        yield story_pb2.GenerateStoryResponse(delta=story_pb2.TextDelta(text=TEXT, offset=0))
        digest = hashlib.sha256(TEXT.encode()).digest()
        complete = story_pb2.GenerationComplete(content_length=len(TEXT), content_sha256=digest)
        yield story_pb2.GenerateStoryResponse(complete=complete)


async def ended(record: storage_pb2.StoryRecord) -> storage_pb2.StoryCheckpoint:
    """The last checkpoint of a run of the story."""
    storage = Storage()
    story = SimpleNamespace(GenerateStory=lambda *_, **__: Stream())
    peers: Any = SimpleNamespace(storage=storage, story=story)
    checkpointer: Any = storage
    worked = record.run.work_duration.ToSeconds()
    lease = Lease("s", 1, seconds=60, since=time.monotonic(), worked=worked)
    settings = GatewaySettings(run_timeout_seconds=60)
    context = RunContext(record, lease, LiveStory(record.story), Ledger(), peers, checkpointer, settings)
    async with asyncio.timeout(20):
        await Run(context, pickup_count=0).task
    return storage.checkpoints[-1]


async def test_age_of_a_run_is_the_work_that_storage_counted() -> None:
    """No clock is read, so that neither a wrong one nor a cluster that was stopped makes a run older than its work."""
    record = storage_pb2.StoryRecord(story=common_pb2.Story(id="s"))
    record.run.work_duration.FromSeconds(40)
    assert common_pb2.STORY_STATE_READY == (await ended(record)).state
    record.run.work_duration.FromSeconds(60)
    last = await ended(record)
    assert common_pb2.STORY_STATE_FAILED == last.state
    assert ["RUN_ABANDONED"] == [problem.reason for problem in last.problems]


class Slow(Stream):
    """A GenerateStory call that never ends."""

    async def __aiter__(self) -> AsyncIterator[story_pb2.GenerateStoryResponse]:
        yield story_pb2.GenerateStoryResponse(title=story_pb2.GenerationTitle(title="Owl"))
        await asyncio.Event().wait()


class Batches:
    """Plays storage for a checkpointer: notes how many leases each call renews."""

    def __init__(self) -> None:
        self.renewed: list[int] = []

    async def CheckpointStories(  # noqa: N802
        self, request: storage_pb2.CheckpointStoriesRequest, **_: Any
    ) -> storage_pb2.CheckpointStoriesResponse:
        if not any(each.attempts or each.title for each in request.checkpoints):
            self.renewed.append(len(request.checkpoints))
        results = [storage_pb2.CheckpointResult(story_id=each.story_id) for each in request.checkpoints]
        return storage_pb2.CheckpointStoriesResponse(results=results)


class Waits(Stream):
    """A GenerateStory call whose providers are away for five seconds."""

    async def __aiter__(self) -> AsyncIterator[story_pb2.GenerateStoryResponse]:
        for _ in range(50):
            yield story_pb2.GenerateStoryResponse(warning=common_pb2.Problem(reason="WAITING_FOR_PROVIDER"))
            await asyncio.sleep(0.1)
        async for response in super().__aiter__():
            yield response


async def test_run_that_waits_does_not_grow_old() -> None:
    """Its story waits longer than it may work."""
    stub: Any = Batches()
    peers: Any = SimpleNamespace(storage=stub, story=SimpleNamespace(GenerateStory=lambda *_, **__: Waits()))
    settings = GatewaySettings(lease_seconds=1.0, run_timeout_seconds=3.0)
    checkpointer = Checkpointer(stub, lease_seconds=1.0)
    sending = asyncio.create_task(checkpointer.run())
    record = storage_pb2.StoryRecord(story=common_pb2.Story(id="s"))
    lease = Lease("s", 1, seconds=1.0, since=time.monotonic())
    context = RunContext(record, lease, LiveStory(record.story), Ledger(), peers, checkpointer, settings)
    async with asyncio.timeout(20):
        await Run(context, pickup_count=0).task
    sending.cancel()
    assert (common_pb2.STORY_STATE_READY, TEXT) == (context.live.state, context.live.text)
    assert lease.worked < 3.0


async def test_one_call_renews_the_leases_of_all_runs() -> None:
    """They began at different moments, and have nothing else to store."""
    storage, runs = Batches(), []
    peers: Any = SimpleNamespace(storage=storage, story=SimpleNamespace(GenerateStory=lambda *_, **__: Slow()))
    stub: Any = storage
    settings = GatewaySettings(lease_seconds=2.4)
    checkpointer = Checkpointer(stub, lease_seconds=2.4)
    sending = asyncio.create_task(checkpointer.run())
    for number in range(20):
        record = storage_pb2.StoryRecord(story=common_pb2.Story(id=f"{number}"))
        lease = Lease(f"{number}", 1, seconds=2.4, since=time.monotonic())
        context = RunContext(record, lease, LiveStory(record.story), Ledger(), peers, checkpointer, settings)
        runs.append(Run(context, pickup_count=0))
        await asyncio.sleep(0.005)
    async with asyncio.timeout(20):
        while 3 > len([size for size in storage.renewed if size > 10]):  # noqa: ASYNC110 - timers have no event
            await asyncio.sleep(0.05)
    for task in (sending, *(run.task for run in runs)):
        task.cancel()
    await asyncio.gather(sending, *(run.task for run in runs), return_exceptions=True)
    assert len(storage.renewed) <= 6
