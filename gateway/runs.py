"""The stories that this gateway is making."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from gateway.checkpointer import Checkpointer
from gateway.desk import Desk
from gateway.followed import ENDED, FollowedStories
from gateway.lease import Lease
from gateway.ledger import Ledger
from gateway.live_story import End, LiveStory
from gateway.run import Run
from gateway.settings import GatewaySettings
from gateway.siblings import SIBLING_ERRORS, Siblings, classify
from gateway.storage_client import CALL_SECONDS
from servicekit.context import RequestContext, bound, current_or_none
from servicekit.errors import reconnect
from servicekit.failures import log_defect
from servicekit.ids import new_id
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

RUN_LOST: Final = "RUN_LOST"
"""Reason of an attempt whose run was killed before it ended."""

log = structlog.get_logger(__name__)


class Runs:
    """Starts, finds, stops and hands over runs."""

    def __init__(
        self,
        siblings: Siblings,
        settings: GatewaySettings,
        followed: FollowedStories,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._siblings = siblings
        self._settings = settings
        self._followed = followed
        self._clock = clock
        self._checkpointer = Checkpointer(siblings.storage, lease_seconds=settings.lease_seconds, clock=clock)
        # Stories that wait for a place have no lease: any replica may claim them, and their time does not run yet.
        self.place_free = asyncio.Event()
        """Set when a run ends at a gateway that was full."""
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._checkpointing: asyncio.Task[None] | None = None
        self._shortening: set[asyncio.Task[None]] = set()
        self._draining = False

    @property
    def room(self) -> int:
        """How many more stories can be taken up now."""
        return 0 if self._draining else max(0, self._settings.max_runs - self.count)

    @property
    def full(self) -> bool:
        """Whether no more stories can be taken up for now."""
        return self.room == 0

    @property
    def count(self) -> int:
        """Stories that are being made here."""
        return len(self._runs)

    def begin(self) -> None:
        """Starts the checkpointer."""
        self._checkpointing = asyncio.create_task(self._checkpointer.run(), name="checkpointer")

    async def end(self) -> None:
        """Stops what `begin` started. Runs are ended by `hand_over`."""
        tasks = [*self._shortening, *([self._checkpointing] if self._checkpointing is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def lease_request(self) -> storage_pb2.LeaseRequest | None:
        """The lease to ask for with a new story; None where this gateway has its hands full: it then waits its turn."""
        self.refuse_if_draining()
        if self.full:
            return None
        return self.new_lease()

    def new_lease(self) -> storage_pb2.LeaseRequest:
        """The lease of a run, as it is asked for."""
        request = storage_pb2.LeaseRequest()
        request.duration.FromNanoseconds(int(self._settings.lease_seconds * 1e9))
        return request

    def refuse_if_draining(self) -> None:
        """UNAVAILABLE / RECONNECT once this gateway is going down."""
        if self._draining:
            raise reconnect()

    def start(self, record: storage_pb2.StoryRecord, *, since: float, pickup_count: int = 0) -> LiveStory:
        """Makes the story, under the lease in `record` that was asked for at `since` by the clock of `now`."""
        story_id = record.story.id
        present = self._runs.get(story_id)
        if present is not None and present[0].desk.lease.token >= record.run.lease_token:
            return present[0].desk.live
        if present is not None:
            present[0].story_lost()
            present[1].cancel()
        lease = Lease(
            story_id,
            record.run.lease_token,
            seconds=self._settings.lease_seconds,
            since=since,
            clock=self._clock,
        )
        ledger = Ledger(record.story.attempts)
        # A run before this one was killed, and what its calls came to is not known.
        ledger.end_all(common_pb2.ATTEMPT_OUTCOME_CANCELLED, RUN_LOST)
        desk = Desk(
            record=record,
            lease=lease,
            live=LiveStory(record.story),
            ledger=ledger,
            siblings=self._siblings,
            checkpointer=self._checkpointer,
            settings=self._settings,
            clock=self._clock,
        )
        run = Run(desk, pickup_count=pickup_count)
        context = current_or_none()
        request_id = context.request_id if context is not None else new_id()
        with bound(RequestContext(request_id=request_id, owner=record.owner)):
            task = asyncio.create_task(run.execute(), name=f"run-{story_id}")
        self._runs[story_id] = (run, task)
        task.add_done_callback(lambda done: self._ended(story_id, run, done))
        # Its watchers see it from here, and the follower learns that there is a run to ask for.
        self._followed.release(story_id)
        self._followed.wanted.set()
        return desk.live

    def now(self) -> float:
        """The clock that leases are watched by, in seconds."""
        return self._clock()

    def live(self, story_id: str, *, owner: str) -> LiveStory | None:
        """What is released of a story that is made here for `owner`."""
        present = self._runs.get(story_id)
        if present is None or present[0].desk.record.owner != owner:
            return None
        return present[0].desk.live

    def positions(self) -> Sequence[storage_pb2.StoryPosition]:
        """A position of each run, by its lease token. A run that stores the end of its story asks for nothing more."""
        return [
            storage_pb2.StoryPosition(story_id=story_id, lease_token=run.desk.lease.token)
            for story_id, (run, _) in self._runs.items()
            if not run.ending
        ]

    async def cancelled(self, story_id: str, state: common_pb2.StoryState.ValueType) -> bool:
        """Stops the run of a story that its owner has cancelled and that stands at `state`; False where it is not here.

        Returns when its ledger is stored, or storage does not take it.
        """
        present = self._runs.get(story_id)
        if present is None:
            return False
        present[0].story_ended(state)
        await _stop(present[1])
        return True

    async def deleted(self, story_id: str) -> None:
        """Stops the run of a story that is deleted, if it is here."""
        if (present := self._runs.get(story_id)) is not None:
            present[0].story_lost()
            await _stop(present[1])

    async def erased(self, child_id: str) -> None:
        """Stops the runs of all stories of a child that is erased."""
        for story_id, (run, _) in list(self._runs.items()):
            if run.desk.record.story.child_id == child_id:
                await self.deleted(story_id)

    def ended_elsewhere(self, change: storage_pb2.StoryChange, token: int) -> None:
        """Stops the run that has this lease token: its story has ended, is deleted or is another run's."""
        present = self._runs.get(change.story_id)
        if present is None or present[0].desk.lease.token != token or present[0].ending:
            return
        log.info("run_ended_elsewhere", story_id=change.story_id, state=common_pb2.StoryState.Name(change.state))
        if change.state in ENDED:
            present[0].story_ended(change.state)
        else:
            present[0].story_lost()
        present[1].cancel()

    async def hand_over(self) -> None:
        """Stops all runs, has all watchers reconnect, and gives the leases back."""
        self._draining = True
        self._followed.hand_over()
        runs = list(self._runs.values())
        for run, task in runs:
            run.desk.live.finish(End.HANDED_OVER)
            task.cancel()
        if not runs:
            return
        await asyncio.wait([task for _, task in runs])
        leases = [
            storage_pb2.HeldLease(story_id=run.desk.lease.story_id, lease_token=run.desk.lease.token) for run, _ in runs
        ]
        with bound(RequestContext(request_id=new_id(), owner="local")):
            try:
                for first in range(0, len(leases), 1000):
                    await self._siblings.storage.release(
                        storage_pb2.ReleaseStoriesRequest(leases=leases[first : first + 1000]), timeout=CALL_SECONDS
                    )
            except SIBLING_ERRORS as error:
                # The leases run out by themselves; the stories only wait longer.
                log.warning("hand_over_failed", stories=len(leases), reason=classify(error).error.reason)
        log.info("handed_over", stories=len(leases))

    def _ended(self, story_id: str, run: Run, task: "asyncio.Task[None]") -> None:
        if (present := self._runs.get(story_id)) is not None and present[0] is run:
            if self.full:
                self.place_free.set()
            del self._runs[story_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            # The lease runs out soon and the story is picked up again, a bounded number of times.
            log.error("run_broke", story_id=story_id)
            log_defect(error)
            self._shorten(run.desk.lease)

    def _shorten(self, lease: Lease) -> None:
        """Lets the lease of a broken run end with the next poll, not only when it would have run out."""

        async def shorten() -> None:
            request = storage_pb2.CheckpointStoriesRequest()
            request.checkpoints.add(story_id=lease.story_id, lease_token=lease.token)
            seconds = min(self._settings.pickup_interval_seconds, self._settings.lease_seconds)
            request.lease_duration.FromNanoseconds(int(seconds * 1e9))
            try:
                with bound(RequestContext(request_id=new_id(), owner="local")):
                    await self._siblings.storage.checkpoint(request, timeout=CALL_SECONDS)
            except SIBLING_ERRORS as error:
                log.warning("lease_not_shortened", story_id=lease.story_id, reason=classify(error).error.reason)

        task = asyncio.create_task(shorten())
        self._shortening.add(task)
        task.add_done_callback(self._shortening.discard)


async def _stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])
