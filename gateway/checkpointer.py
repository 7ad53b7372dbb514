"""One batched call keeps what all runs of this gateway have made.

A checkpoint is sent at once when no call is in flight; while one is, checkpoints gather and go together in the next.
So storage sees at most one CheckpointStories of this gateway at a time, however many stories are being made.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import grpc
import structlog

from gateway.lease import Lease, LeaseLostError
from gateway.siblings import FailureKind, classify
from servicekit.context import RequestContext, bound
from servicekit.failures import log_defect
from servicekit.ids import new_id
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

MAX_ITEMS: Final = 500
MAX_BYTES: Final = 1024 * 1024
MAX_DEFECTS: Final = 4
"""How often one checkpoint is sent again that storage answered with INTERNAL."""
CALL_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)


class Storage(Protocol):
    """What the checkpointer needs of storage."""

    async def checkpoint(
        self, request: storage_pb2.CheckpointStoriesRequest, *, timeout: float
    ) -> storage_pb2.CheckpointStoriesResponse:
        """Keeps a batch; repeating one changes nothing."""


class CheckpointRefusedError(Exception):
    """Storage will not keep this; saying it again changes nothing."""

    def __init__(self, problem: common_pb2.Problem) -> None:
        super().__init__(problem.reason)
        self.problem = problem


@dataclass(slots=True)
class _Item:
    checkpoint: storage_pb2.StoryCheckpoint
    lease: Lease
    kept: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    defects: int = 0


class Checkpointer:
    """Batches the checkpoints of all runs. `run` must be running."""

    def __init__(self, storage: Storage, *, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._lease_seconds = lease_seconds
        self._clock = clock
        # Bounded by the runs: each has at most a writer, a narrator and a keeper waiting here.
        self._waiting: deque[_Item] = deque()
        self._wake = asyncio.Event()

    async def keep(self, checkpoint: storage_pb2.StoryCheckpoint, lease: Lease) -> None:
        """Returns once `checkpoint` is durable, and the lease renewed.

        While storage can not be reached it waits, until the lease runs out: LeaseLostError, also where storage says
        that the story is somebody else's or gone. CheckpointRefusedError when storage refuses the content.
        """
        lease.check()
        checkpoint.story_id = lease.story_id
        checkpoint.lease_token = lease.token
        item = _Item(checkpoint, lease)
        self._waiting.append(item)
        self._wake.set()
        await item.kept

    async def run(self) -> None:
        """Sends batches until cancelled."""
        context = RequestContext(request_id=f"checkpoints-{new_id()}", owner="local")
        with bound(context):
            while True:
                await self._wake.wait()
                self._wake.clear()
                while batch := self._next_batch():
                    await self._send_or_fail(batch)

    async def _send_or_fail(self, batch: list[_Item]) -> None:
        """Nothing that goes wrong with one batch may end the checkpoints of all stories."""
        try:
            await self._send(batch)
        except Exception as error:  # noqa: BLE001 - a defect of ours: logged, and told to those who wait
            log_defect(error)
            refusal = common_pb2.Problem(reason="INTERNAL", message="The checkpoint could not be sent.")
            for item in batch:
                if not item.kept.done():
                    item.kept.set_exception(CheckpointRefusedError(refusal))

    def _next_batch(self) -> list[_Item]:
        """The oldest waiting items, each story once, within the bounds of a message."""
        batch: list[_Item] = []
        left: deque[_Item] = deque()
        stories: set[str] = set()
        size = 0
        while self._waiting:
            item = self._waiting.popleft()
            if item.kept.cancelled():
                continue
            weight = item.checkpoint.ByteSize()
            full = len(batch) >= MAX_ITEMS or (batch and size + weight > MAX_BYTES)
            if full or item.lease.story_id in stories:
                left.append(item)
                # A later checkpoint of the same story must not overtake this one.
                stories.add(item.lease.story_id)
                continue
            stories.add(item.lease.story_id)
            batch.append(item)
            size += weight
        self._waiting = left
        return batch

    async def _send(self, batch: list[_Item]) -> None:
        """Sends `batch` until it is kept, refused, or nobody in it holds a lease any more."""
        delay = 0.05
        while batch := self._still_held(batch):
            since = self._clock()
            request = storage_pb2.CheckpointStoriesRequest()
            for item in batch:
                request.checkpoints.add().CopyFrom(item.checkpoint)
            request.lease_duration.FromNanoseconds(int(self._lease_seconds * 1e9))
            try:
                longest = max(item.lease.remaining for item in batch)
                answer = await self._storage.checkpoint(request, timeout=min(CALL_SECONDS, max(0.05, longest)))
            except (grpc.aio.AioRpcError, TimeoutError) as error:
                failure = classify(error)
                log.warning("checkpoints_failed", items=len(batch), reason=failure.error.reason)
                final = failure.kind is FailureKind.PERMANENT
                if final or failure.error.code is grpc.StatusCode.INTERNAL:
                    if len(batch) > 1:
                        # One item that storage can not take must not stop the others: find it.
                        for item in batch:
                            await self._send([item])
                        return
                    batch[0].defects += 1
                    if final or batch[0].defects > MAX_DEFECTS:
                        problem = common_pb2.Problem(reason=failure.error.reason, message=failure.error.message)
                        batch[0].kept.set_exception(CheckpointRefusedError(problem))
                        return
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))
                delay = min(1.0, delay * 2)
                continue
            self._settle(batch, answer, since)
            return

    def _still_held(self, batch: list[_Item]) -> list[_Item]:
        held: list[_Item] = []
        for item in batch:
            if item.kept.done():
                continue
            if item.lease.remaining <= 0:
                item.kept.set_exception(LeaseLostError("storage could not be reached while the lease held"))
            else:
                held.append(item)
        return held

    def _settle(self, batch: list[_Item], answer: storage_pb2.CheckpointStoriesResponse, since: float) -> None:
        for item, result in zip(batch, answer.results, strict=True):
            if item.kept.done():
                continue
            if not result.HasField("error"):
                item.lease.renewed(since)
                item.kept.set_result(None)
            elif result.error.reason in {"LEASE_LOST", "STORY_NOT_FOUND", "WRONG_STATE"}:
                item.kept.set_exception(LeaseLostError(result.error.reason))
            else:
                item.kept.set_exception(CheckpointRefusedError(result.error))
