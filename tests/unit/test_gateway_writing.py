"""A run that writes: what it reads before the first attempt."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
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
from servicekit.context import Caller, RequestContext, bound
from servicekit.errors import unavailable
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2
from tale.story.v1 import story_pb2

TEXT = "The owl slept."


class Storage:
    """Plays storage: does not respond for the first reads, then returns the parent."""

    def __init__(self, silent: int, heard: Sequence[common_pb2.StorySummary] | None = ()) -> None:
        self.silent = silent
        self.reads = 0
        self.heard = heard
        self.listed: list[common_pb2.StoryFilter] = []
        self.checkpoints: list[storage_pb2.StoryCheckpoint] = []

    async def ListStories(self, request: storage_pb2.ListStoriesRequest, **_: Any) -> storage_pb2.ListStoriesResponse:  # noqa: N802
        self.listed.append(request.filter)
        if self.heard is None:
            raise grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata())
        return storage_pb2.ListStoriesResponse(stories=self.heard)

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
    with bound(RequestContext("r", Caller("o"))):
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
    with bound(RequestContext("r", Caller("o"))):
        await Writer(context).write()
    assert bool(seconds) == asked[0].HasField("provider_wait")
    assert seconds - 10 < asked[0].provider_wait.ToSeconds() <= seconds
    (problem,) = [each for checkpoint in storage.checkpoints for each in checkpoint.problems]
    assert [problem] == live.warnings
    assert {"provider": "p", "run": "7", "text_length": "0"} == dict(problem.metadata)


def outline(title: str) -> common_pb2.StoryOutline:
    return common_pb2.StoryOutline(title=title, plot_shape="search", scenes=[common_pb2.OutlineScene(key="gate")])


class Planned:
    """GenerateStory calls that plan the story before they write it; the first one ends before the end."""

    def __init__(self) -> None:
        self.asked: list[story_pb2.GenerateStoryRequest] = []

    def __call__(self, request: story_pb2.GenerateStoryRequest, **_: Any) -> Any:
        self.asked.append(request)
        return self

    def cancel(self) -> None:
        """Has nothing to cancel."""

    async def __aiter__(self) -> AsyncIterator[story_pb2.GenerateStoryResponse]:
        if len(self.asked) == 1:
            yield story_pb2.GenerateStoryResponse(outline=outline("First"))
            raise unavailable("UPSTREAM_UNAVAILABLE", "Busy.", 0.0)
        yield story_pb2.GenerateStoryResponse(outline=outline("Second"))
        async for response in Stream(fails=False):
            yield response


async def written(storage: Storage, story: common_pb2.Story) -> tuple[LiveStory, list[story_pb2.GenerateStoryRequest]]:
    """Writes a story that is planned; returns it and what the story service was asked."""
    live, planned = LiveStory(story), Planned()
    peers: Any = SimpleNamespace(storage=storage, story=SimpleNamespace(GenerateStory=planned))
    checkpointer: Any = storage
    lease = Lease("s", 1, seconds=60, since=time.monotonic(), clock=time.monotonic)
    record = storage_pb2.StoryRecord(story=story)
    context = RunContext(record, lease, live, Ledger(), peers, checkpointer, GatewaySettings())
    with bound(RequestContext("r", Caller("o"))):
        async with asyncio.timeout(20):
            await Writer(context).write()
    return live, planned.asked


async def test_outline_is_stored_before_its_text_and_followed_by_the_next_attempt() -> None:
    """Also where the attempt that made it wrote nothing; with a title or text it costs no checkpoint of its own."""
    storage = Storage(silent=0)
    live, asked = await written(storage, common_pb2.Story(id="s", child=common_pb2.Child(name="Mia")))
    assert not asked[0].HasField("outline")
    assert outline("First") == asked[1].outline
    assert outline("Second") == live.outline
    planned = [each.outline.title for each in storage.checkpoints if each.HasField("outline")]
    assert ["First", "Second"] == planned
    texts = [each for each in storage.checkpoints if each.title or each.HasField("text")]
    assert "Second" == texts[0].outline.title


_READY, _FAILED = common_pb2.STORY_STATE_READY, common_pb2.STORY_STATE_FAILED


async def test_story_is_written_with_what_its_child_heard() -> None:
    """Newest first: not itself and none that failed without a text; an older story gives its title."""
    summary = common_pb2.StorySummary
    stories = [
        summary(id="s", state=common_pb2.STORY_STATE_WRITING, outline=outline("Itself")),
        summary(id="a", state=common_pb2.STORY_STATE_WRITING, outline=outline("Planned")),
        summary(id="b", state=_FAILED, title="Lost", outline=outline("Lost")),
        summary(id="c", state=_FAILED, title="Cut", outline=outline("Short"), excerpt="Once"),
        summary(id="d", state=_READY, title="Old" * 100, excerpt="Once"),
        *(summary(id=f"e{number}", state=_READY, title=f"E{number}", excerpt="Once") for number in range(30)),
    ]
    storage = Storage(silent=0, heard=stories)
    _, asked = await written(storage, common_pb2.Story(id="s", child_id="c", child=common_pb2.Child(name="Mia")))
    heard = list(asked[0].heard)
    assert [outline("Planned"), outline("Cut"), common_pb2.StoryOutline(title=("Old" * 100)[:200])] == heard[:3]
    assert 20 == len(heard)
    (chosen,) = storage.listed
    assert ("c", "") == (chosen.child_id, chosen.child_name)


@pytest.mark.parametrize(
    ("story", "reads"),
    [
        (common_pb2.Story(id="s", child=common_pb2.Child(name="Mia")), ["Mia"]),
        (common_pb2.Story(id="s", child=common_pb2.Child(name="Mia"), outline=outline("Planned")), []),
        (common_pb2.Story(id="s"), []),
    ],
)
async def test_list_of_what_was_heard_is_read_once_and_only_for_a_story_that_is_not_planned(
    story: common_pb2.Story, reads: list[str]
) -> None:
    """By the name where the child is not stored."""
    storage = Storage(silent=0)
    _, asked = await written(storage, story)
    assert reads == [chosen.child_name for chosen in storage.listed]
    assert ([outline("Planned")] if story.HasField("outline") else []) == [
        each.outline for each in asked[:1] if each.HasField("outline")
    ]


async def test_storage_that_cannot_list_costs_the_story_nothing() -> None:
    """It is written without that list."""
    storage = Storage(silent=0, heard=None)
    live, asked = await written(storage, common_pb2.Story(id="s", child=common_pb2.Child(name="Mia")))
    assert TEXT == live.text
    assert [[], []] == [list(each.heard) for each in asked]
