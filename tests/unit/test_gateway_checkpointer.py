"""Checkpoints of all runs share one call, and each succeeds or fails on its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from gateway.runs.checkpointer import Checkpointer, CheckpointRefusedError, Lease, LeaseLostError
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2


class Clock:
    """A clock that moves only when it is set."""

    def __init__(self) -> None:
        self.moment = 100.0

    def __call__(self) -> float:
        return self.moment


class Storage:
    """Plays storage: notes each batch, and answers as scripted."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.last = storage_pb2.CheckpointStoriesRequest()
        self.hold: asyncio.Event | None = None
        self.refuse: dict[str, str] = {}
        self.failures: list[Exception | None] = []
        self.on_call: Callable[[], None] = lambda: None
        self.called = asyncio.Event()

    async def CheckpointStories(  # noqa: N802
        self, request: storage_pb2.CheckpointStoriesRequest, *, timeout: float, **_: Any
    ) -> storage_pb2.CheckpointStoriesResponse:
        assert timeout > 0
        self.batches.append([item.story_id for item in request.checkpoints])
        self.last = request
        self.on_call()
        self.called.set()
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        if self.hold is not None:
            await self.hold.wait()
        answer = storage_pb2.CheckpointStoriesResponse()
        for item in request.checkpoints:
            result = answer.results.add(story_id=item.story_id)
            if item.segments and item.segments[0].index == 9:
                result.error.reason = "CHECKPOINT_CONFLICT"
            if item.story_id in self.refuse:
                result.error.CopyFrom(common_pb2.Problem(reason=self.refuse[item.story_id]))
        return answer


def failed(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    """A call that the transport failed."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())


@asynccontextmanager
async def running(storage: Any, clock: Clock) -> AsyncIterator[Checkpointer]:
    """A checkpointer at work."""
    checkpointer = Checkpointer(storage, lease_seconds=30, clock=clock)
    task = asyncio.create_task(checkpointer.run())
    try:
        yield checkpointer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def lease(story_id: str, clock: Clock) -> Lease:
    """A fresh lease of 30 seconds."""
    return Lease(story_id, 1, seconds=30, since=clock(), clock=clock)


async def test_first_checkpoint_is_sent_at_once_and_later_ones_together() -> None:
    """While one call is in flight the others gather and share the next."""
    clock, storage = Clock(), Storage()
    storage.hold = asyncio.Event()
    async with running(storage, clock) as checkpointer, asyncio.TaskGroup() as tasks:
        tasks.create_task(checkpointer.store(storage_pb2.StoryCheckpoint(), lease("first", clock)))
        await storage.called.wait()
        for name in ("a", "b", "c"):
            tasks.create_task(checkpointer.store(storage_pb2.StoryCheckpoint(), lease(name, clock)))
        await asyncio.sleep(0)
        storage.hold.set()
    assert storage.batches == [["first"], ["a", "b", "c"]]


async def test_waiting_checkpoints_of_a_story_are_merged() -> None:
    """Those that come while a call is in flight, in order; each waiting call returns."""
    clock, storage = Clock(), Storage()
    storage.hold = asyncio.Event()
    mine = lease("mine", clock)
    async with running(storage, clock) as checkpointer, asyncio.TaskGroup() as tasks:
        tasks.create_task(checkpointer.store(storage_pb2.StoryCheckpoint(), mine))
        await storage.called.wait()
        for offset, text in ((0, "a"), (1, "b")):
            append = storage_pb2.TextAppend(offset=offset, text=text)
            tasks.create_task(checkpointer.store(storage_pb2.StoryCheckpoint(text=append), mine))
        await asyncio.sleep(0)
        storage.hold.set()
    assert storage.batches == [["mine"], ["mine"]]
    assert storage.last.checkpoints[0].text == storage_pb2.TextAppend(offset=0, text="ab")


async def test_refused_checkpoint_does_not_affect_another_of_its_story() -> None:
    """A narration that storage refuses costs no text: what went as one is sent apart."""
    clock, storage = Clock(), Storage()
    storage.hold = asyncio.Event()
    mine = lease("mine", clock)
    async with running(storage, clock) as checkpointer:
        first = asyncio.create_task(checkpointer.store(storage_pb2.StoryCheckpoint(), mine))
        await storage.called.wait()
        text = storage_pb2.StoryCheckpoint(text=storage_pb2.TextAppend(text="a"))
        segments = storage_pb2.StoryCheckpoint(segments=[common_pb2.Segment(index=9)])
        both = [asyncio.create_task(checkpointer.store(each, mine)) for each in (text, segments)]
        await asyncio.sleep(0)
        storage.hold.set()
        await first
        results = await asyncio.gather(*both, return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], CheckpointRefusedError)


async def test_new_run_of_a_story_does_not_wait_for_the_earlier_one() -> None:
    """What that one still wanted stored is refused, and the new one's is sent."""
    clock, storage = Clock(), Storage()
    storage.hold = asyncio.Event()
    async with running(storage, clock) as checkpointer:
        first = asyncio.create_task(checkpointer.store(storage_pb2.StoryCheckpoint(), lease("other", clock)))
        await storage.called.wait()
        old = asyncio.create_task(checkpointer.store(storage_pb2.StoryCheckpoint(), lease("mine", clock)))
        await asyncio.sleep(0)
        new = asyncio.create_task(checkpointer.store(storage_pb2.StoryCheckpoint(), lease("mine", clock)))
        await asyncio.sleep(0)
        storage.hold.set()
        await asyncio.gather(first, new)
        with pytest.raises(LeaseLostError):
            await old


async def test_success_renews_the_lease_from_before_the_call() -> None:
    """The holder counts from the moment of sending, so that it never believes longer than storage does."""
    clock, storage = Clock(), Storage()
    held = lease("s", clock)
    clock.moment += 20

    def later() -> None:
        clock.moment += 5

    storage.on_call = later
    async with running(storage, clock) as checkpointer:
        await checkpointer.store(storage_pb2.StoryCheckpoint(), held)
    assert held.remaining == 25.0


async def test_lost_lease_does_not_affect_the_others() -> None:
    """Each item of a batch has its own verdict."""
    clock, storage = Clock(), Storage()
    storage.refuse = {"theirs": "LEASE_LOST", "odd": "CHECKPOINT_CONFLICT"}
    async with running(storage, clock) as checkpointer:
        results = await asyncio.gather(
            *(checkpointer.store(storage_pb2.StoryCheckpoint(), lease(name, clock)) for name in ("theirs", "odd", "s")),
            return_exceptions=True,
        )
    assert [LeaseLostError, CheckpointRefusedError, type(None)] == [type(result) for result in results]


async def test_checkpoint_is_repeated_while_storage_is_unreachable() -> None:
    """A transport failure is no refusal: the same checkpoint is sent until it is stored."""
    clock, storage = Clock(), Storage()
    storage.failures = [failed(grpc.StatusCode.UNAVAILABLE), failed(grpc.StatusCode.DEADLINE_EXCEEDED)]
    async with running(storage, clock) as checkpointer:
        await checkpointer.store(storage_pb2.StoryCheckpoint(), lease("s", clock))
    assert storage.batches == [["s"]] * 3


async def test_storage_that_is_away_longer_than_the_lease_ends_no_run() -> None:
    """What a run has made is stored when storage is back: the story is still its own."""
    clock, storage = Clock(), Storage()
    storage.failures = [failed(grpc.StatusCode.UNAVAILABLE)] * 3

    def run_out() -> None:
        clock.moment += 31

    storage.on_call = run_out
    held = lease("s", clock)
    async with running(storage, clock) as checkpointer:
        await checkpointer.store(storage_pb2.StoryCheckpoint(), held)
    assert [["s"]] * 4 == storage.batches
    assert -1 == held.remaining


async def test_run_that_was_claimed_meanwhile_learns_it_from_storage() -> None:
    """Then nothing of it is stored."""
    clock, storage = Clock(), Storage()
    storage.failures = [failed(grpc.StatusCode.UNAVAILABLE)]
    storage.refuse = {"s": "LEASE_LOST"}
    held = lease("s", clock)
    clock.moment += 31
    async with running(storage, clock) as checkpointer:
        with pytest.raises(LeaseLostError, match="LEASE_LOST"):
            await checkpointer.store(storage_pb2.StoryCheckpoint(), held)


async def test_failing_batch_is_sent_item_by_item() -> None:
    """One checkpoint that storage cannot store must not end every story of the gateway."""
    clock, storage = Clock(), Storage()
    storage.hold = asyncio.Event()
    async with running(storage, clock) as checkpointer:
        first = asyncio.create_task(checkpointer.store(storage_pb2.StoryCheckpoint(), lease("first", clock)))
        await storage.called.wait()
        both = [
            asyncio.create_task(checkpointer.store(storage_pb2.StoryCheckpoint(), lease(name, clock)))
            for name in ("a", "b")
        ]
        await asyncio.sleep(0)
        storage.failures = [failed(grpc.StatusCode.INVALID_ARGUMENT)]
        storage.hold.set()
        await asyncio.gather(first, *both)
    assert storage.batches == [["first"], ["a", "b"], ["a"], ["b"]]


async def test_internal_error_of_storage_is_not_a_refusal() -> None:
    """After a single INTERNAL the checkpoint is repeated; a lasting one is raised in the run."""
    clock, storage = Clock(), Storage()
    storage.failures = [failed(grpc.StatusCode.INTERNAL)]
    async with running(storage, clock) as checkpointer:
        await checkpointer.store(storage_pb2.StoryCheckpoint(), lease("s", clock))
        assert [["s"]] * 2 == storage.batches
        storage.failures = [failed(grpc.StatusCode.INTERNAL)] * 5
        with pytest.raises(CheckpointRefusedError):
            await checkpointer.store(storage_pb2.StoryCheckpoint(), lease("s", clock))


async def test_defect_with_one_batch_does_not_end_all_checkpoints() -> None:
    """An answer that makes no sense fails those that it is about; the next batch goes as ever."""
    clock, storage = Clock(), Storage()
    storage.failures = [ValueError("nonsense")]
    async with running(storage, clock) as checkpointer:
        with pytest.raises(CheckpointRefusedError):
            await checkpointer.store(storage_pb2.StoryCheckpoint(), lease("s", clock))
        await checkpointer.store(storage_pb2.StoryCheckpoint(), lease("s", clock))
