"""A run that writes: what it reads before the first attempt."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from gateway.runs.checkpointer import Lease
from gateway.runs.context import RunContext
from gateway.runs.ledger import Ledger
from gateway.runs.live_story import LiveStory
from gateway.runs.writer import Writer
from gateway.settings import GatewaySettings
from servicekit.context import RequestContext, bound
from servicekit.errors import unavailable
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2
from tale.story.v1 import story_pb2

TEXT = "The owl slept."


class Storage:
    """Plays storage: does not respond for the first reads, then returns the parent."""

    def __init__(self, silent: int) -> None:
        self.silent = silent
        self.reads = 0
        self.checkpoints: list[storage_pb2.StoryCheckpoint] = []

    async def GetStory(self, _: storage_pb2.GetStoryRequest, **__: Any) -> storage_pb2.GetStoryResponse:  # noqa: N802
        self.reads += 1
        if self.reads <= self.silent:
            empty = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, empty, empty)
        parent = common_pb2.Story(id="p", title="Before", content="It was day.")
        return storage_pb2.GetStoryResponse(record=storage_pb2.StoryRecord(story=parent))

    async def store(self, checkpoint: storage_pb2.StoryCheckpoint, lease: Lease) -> None:
        assert lease.token
        self.checkpoints.append(checkpoint)


class Stream:
    """One GenerateStory call."""

    def __init__(self, *, fails: bool, waits: int = 0) -> None:
        self._fails = fails
        self._waits = waits

    def cancel(self) -> None:
        """Has nothing to cancel."""

    async def __aiter__(self) -> AsyncIterator[story_pb2.GenerateStoryResponse]:
        for second in range(self._waits):
            problem = common_pb2.Problem(reason="WAITING_FOR_PROVIDER", message="Waiting.", metadata={"provider": "p"})
            problem.time.FromSeconds(second)
            yield story_pb2.GenerateStoryResponse(warning=problem)
        if self._fails:
            raise unavailable("UPSTREAM_UNAVAILABLE", "Busy.", 0.0)
        yield story_pb2.GenerateStoryResponse(title=story_pb2.GenerationTitle(title="Owl"))
        yield story_pb2.GenerateStoryResponse(delta=story_pb2.TextDelta(text=TEXT, offset=0))
        digest = hashlib.sha256(TEXT.encode()).digest()
        complete = story_pb2.GenerationComplete(content_length=len(TEXT), content_sha256=digest)
        yield story_pb2.GenerateStoryResponse(complete=complete)


async def test_parent_is_read_once_and_waited_for_before_the_first_attempt() -> None:
    """A storage that is away longer than the retries of an attempt costs none, and none is booked as failed."""
    asked: list[story_pb2.GenerateStoryRequest] = []

    def generate(request: story_pb2.GenerateStoryRequest, **_: Any) -> Stream:
        asked.append(request)
        return Stream(fails=len(asked) == 1)

    storage = Storage(silent=4)
    story = common_pb2.Story(id="s", parent_story_id="p")
    live, ledger = LiveStory(story), Ledger()
    peers: Any = SimpleNamespace(storage=storage, story=SimpleNamespace(GenerateStory=generate))
    checkpointer: Any = storage
    lease = Lease("s", 1, seconds=60, since=time.monotonic(), clock=time.monotonic)
    record = storage_pb2.StoryRecord(story=story)
    context = RunContext(record, lease, live, ledger, peers, checkpointer, GatewaySettings())
    with bound(RequestContext("r", "o")):
        async with asyncio.timeout(20):
            await Writer(context).write()
    assert 5 == storage.reads
    assert ["It was day."] * 2 == [request.parent_text for request in asked]
    assert TEXT == live.text
    ended = {each.attempt_id: each.outcome for checkpoint in storage.checkpoints for each in checkpoint.attempts}
    assert [common_pb2.ATTEMPT_OUTCOME_FAILED, common_pb2.ATTEMPT_OUTCOME_SUCCEEDED] == list(ended.values())


@pytest.mark.parametrize("seconds", [600.0, 0.0])
async def test_story_says_once_that_it_waits_and_for_how_long_it_may(seconds: float) -> None:
    """A repeated warning is stored and shown once, with how far the story is; without a wait nothing is set."""
    asked: list[story_pb2.GenerateStoryRequest] = []

    def generate(request: story_pb2.GenerateStoryRequest, **_: Any) -> Stream:
        asked.append(request)
        return Stream(fails=False, waits=3)

    storage, story = Storage(silent=0), common_pb2.Story(id="s")
    live = LiveStory(story)
    peers: Any = SimpleNamespace(storage=storage, story=SimpleNamespace(GenerateStory=generate))
    checkpointer: Any = storage
    lease = Lease("s", 7, seconds=60, since=time.monotonic(), clock=time.monotonic)
    settings = GatewaySettings(provider_wait_seconds=seconds)
    context = RunContext(storage_pb2.StoryRecord(story=story), lease, live, Ledger(), peers, checkpointer, settings)
    with bound(RequestContext("r", "o")):
        await Writer(context).write()
    assert bool(seconds) == asked[0].HasField("provider_wait")
    assert seconds - 10 < asked[0].provider_wait.ToSeconds() <= seconds
    (problem,) = [each for checkpoint in storage.checkpoints for each in checkpoint.problems]
    assert [problem] == live.warnings
    assert {"provider": "p", "run": "7", "text_length": "0"} == dict(problem.metadata)
