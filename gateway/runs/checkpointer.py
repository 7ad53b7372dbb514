"""Stores what all runs of this gateway have made, in one batched call.

A checkpoint is sent at once if no call is in flight; otherwise it is sent with the next call, merged by story.
So storage gets one CheckpointStories of this gateway at a time, for any number of stories.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import grpc
import structlog

from gateway.metrics import GatewayMetrics
from gateway.peers.clients import StorageStub, invoke
from gateway.peers.retry import PEER_ERRORS, FailureKind, classify
from servicekit.context import RequestContext, bound
from servicekit.ids import new_id
from servicekit.logging import log_defect
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2


class LeaseLostError(Exception):
    """The story has, or may have, another run: stop, and write nothing more."""


class Lease:
    """The right to write to one story.

    Storage alone decides whether it holds: one whose time is over still does until another run claims the story. The
    holder counts by its own monotonic `clock` (seconds), from *before* the call that renewed it. `worked` are the
    seconds of earlier runs.
    """

    def __init__(
        self,
        story_id: str,
        token: int,
        *,
        seconds: float,
        since: float,
        worked: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.story_id = story_id
        self.token = token
        self._seconds = seconds
        self._clock = clock
        self.since = since
        """When it was taken or last renewed."""
        self.worked_before = worked
        """Seconds of work until then."""

    @property
    def remaining(self) -> float:
        """Seconds for which no other run can claim the story; negative since it can."""
        return self.since + self._seconds - self._clock()

    @property
    def worked(self) -> float:
        """Seconds of work under leases: those in which the lease had expired do not count."""
        return self.worked_before + min(self._clock() - self.since, self._seconds)

    def renewed(self, since: float, *, waiting: bool = False) -> None:
        """Notes that a call that renews it was sent at `since` and succeeded; the run only waited if `waiting`."""
        self.worked_before += 0.0 if waiting else min(since - self.since, self._seconds)
        self.since = since


MAX_ITEMS: Final = 500
MAX_BYTES: Final = 1024 * 1024
MAX_DEFECTS: Final = 4
"""How often one checkpoint is sent again after INTERNAL."""

log = structlog.get_logger(__name__)


class CheckpointRefusedError(Exception):
    """Storage refuses the content of a checkpoint; sending it again changes nothing."""

    def __init__(self, problem: common_pb2.Problem) -> None:
        super().__init__(problem.reason)
        self.problem = problem


@dataclass(slots=True)
class _Part:
    """A checkpoint that a run waits for."""

    checkpoint: storage_pb2.StoryCheckpoint
    stored: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(slots=True)
class _Item:
    """Checkpoints of one story that are sent as one."""

    lease: Lease
    parts: list[_Part]
    checkpoint: storage_pb2.StoryCheckpoint
    defects: int = 0

    @property
    def waited_for(self) -> bool:
        return not all(part.stored.done() for part in self.parts)

    def settle(self, error: Exception | None) -> None:
        """Ends the waiting of the runs; with `error` it is raised there."""
        for part in self.parts:
            if not part.stored.done():
                if error is None:
                    part.stored.set_result(None)
                else:
                    part.stored.set_exception(error)


class Checkpointer:
    """Batches the checkpoints of all runs. `run` must be running."""

    def __init__(
        self,
        storage: StorageStub,
        *,
        lease_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        metrics: GatewayMetrics | None = None,
    ) -> None:
        self._metrics = metrics or GatewayMetrics()
        self._storage = storage
        self._lease_seconds = lease_seconds
        self._clock = clock
        # By story, oldest first. Bounded by the runs: of each, at most its three tasks wait here.
        self._waiting: dict[str, tuple[Lease, list[_Part]]] = {}
        self._wake = asyncio.Event()

    async def store(self, checkpoint: storage_pb2.StoryCheckpoint, lease: Lease) -> None:
        """Returns once `checkpoint` is stored and the lease renewed. Waits as long as storage cannot be reached.

        Raises LeaseLostError when storage reports that the story has another run, has ended or is deleted;
        CheckpointRefusedError when storage refuses the content.
        """
        checkpoint.story_id = lease.story_id
        checkpoint.lease_token = lease.token
        part = _Part(checkpoint)
        held, parts = self._waiting.setdefault(lease.story_id, (lease, []))
        if held is not lease:
            # Another run has claimed the story; storage would refuse the checkpoints of the earlier one.
            _Item(held, parts, checkpoint).settle(LeaseLostError("another run has the story"))
            parts = []
            self._waiting[lease.story_id] = (lease, parts)
        parts.append(part)
        self._wake.set()
        await part.stored

    async def run(self) -> None:
        """Sends batches until cancelled."""
        context = RequestContext(f"checkpoints-{new_id()}")
        with bound(context):
            while True:
                await self._wake.wait()
                self._wake.clear()
                while batch := self._next_batch():
                    try:
                        await self._send(batch)
                    except Exception as error:  # noqa: BLE001 - a defect must not end the checkpoints of all stories
                        log_defect(error)
                        refusal = common_pb2.Problem(reason="INTERNAL", message="The checkpoint could not be sent.")
                        for item in batch:
                            item.settle(CheckpointRefusedError(refusal))

    def _next_batch(self) -> list[_Item]:
        """Returns the stories that have waited longest, within the bounds of a message."""
        batch: list[_Item] = []
        size = 0
        for story_id, (lease, waiting) in list(self._waiting.items()):
            if len(batch) >= MAX_ITEMS or size >= MAX_BYTES:
                break
            del self._waiting[story_id]
            parts = [part for part in waiting if not part.stored.done()]
            if not parts:
                continue
            item = _Item(lease, parts[:1], parts[0].checkpoint)
            if len(parts) > 1:
                # The parts may have to be sent one by one.
                item.checkpoint = storage_pb2.StoryCheckpoint()
                item.checkpoint.CopyFrom(parts[0].checkpoint)
            for number, part in enumerate(parts[1:], 1):
                if not merge(item.checkpoint, part.checkpoint):
                    self._waiting[story_id] = (lease, parts[number:])
                    break
                item.parts.append(part)
            batch.append(item)
            size += item.checkpoint.ByteSize()
        return batch

    async def _send(self, batch: list[_Item]) -> None:
        """Sends `batch` until it is stored or refused, or no run waits for it any more."""
        delay, began = 0.05, self._clock()
        while batch := [item for item in batch if item.waited_for]:
            since = self._clock()
            request = storage_pb2.CheckpointStoriesRequest()
            request.checkpoints.extend(item.checkpoint for item in batch)
            request.lease_duration.FromNanoseconds(int(self._lease_seconds * 1e9))
            try:
                response = await invoke(self._storage.CheckpointStories, request)
            except PEER_ERRORS as error:
                failure = classify(error)
                log.warning("checkpoints failed", items=len(batch), reason=failure.reason)
                final = failure.kind is FailureKind.PERMANENT
                if final or failure.error.code is grpc.StatusCode.INTERNAL:
                    if len(batch) > 1 or len(batch[0].parts) > 1:
                        # One checkpoint that storage cannot store must not stop the others: find it.
                        for item in batch:
                            await self._send_apart(item)
                        return
                    batch[0].defects += 1
                    if final or batch[0].defects > MAX_DEFECTS:
                        problem = common_pb2.Problem(
                            reason=failure.reason,
                            message=failure.error.message,
                            remedy=failure.error.remedy,
                            retryable=failure.error.retryable,
                        )
                        batch[0].settle(CheckpointRefusedError(problem))
                        return
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))
                delay = min(1.0, delay * 2)
                continue
            self._metrics.checkpointed(len(batch), self._clock() - began)
            await self._settle(batch, response, since)
            return

    async def _settle(self, batch: list[_Item], response: storage_pb2.CheckpointStoriesResponse, since: float) -> None:
        for item, result in zip(batch, response.results, strict=True):
            if not result.HasField("error"):
                item.lease.renewed(since, waiting=item.checkpoint.waiting)
                item.settle(None)
            elif result.error.reason in {"LEASE_LOST", "STORY_NOT_FOUND", "WRONG_STATE"}:
                item.settle(LeaseLostError(result.error.reason))
            elif len(item.parts) > 1:
                await self._send_apart(item)
            else:
                item.settle(CheckpointRefusedError(result.error))

    async def _send_apart(self, item: _Item) -> None:
        """Sends each checkpoint of `item` alone, in order: a refused narration must not cost the text."""
        for part in item.parts:
            await self._send([_Item(item.lease, [part], part.checkpoint, item.defects)])


def merge(into: storage_pb2.StoryCheckpoint, more: storage_pb2.StoryCheckpoint) -> bool:
    """Adds `more`, which follows `into`; returns False, and changes nothing, if one message cannot hold both."""
    begins_anew = more.HasField("narration") and (into.HasField("narration") or into.segments)
    if begins_anew:
        return False
    text = None
    if more.HasField("text") and into.HasField("text"):
        if more.text.offset != into.text.offset + len(into.text.text):
            return False
        text = storage_pb2.TextAppend(offset=into.text.offset, text=into.text.text + more.text.text)
    lines = {line.attempt_id for line in more.attempts}
    replaced = [line for line in into.attempts if line.attempt_id in lines]
    waiting = into.waiting and more.waiting
    into.MergeFrom(more)
    into.waiting = waiting
    if more.HasField("generation"):
        # The later record contains the earlier one.
        into.generation.CopyFrom(more.generation)
    if more.HasField("outline"):
        # As a merged message it would have the scenes of both.
        into.outline.CopyFrom(more.outline)
    if text is not None:
        into.text.CopyFrom(text)
    for line in replaced:
        into.attempts.remove(line)
    return True
