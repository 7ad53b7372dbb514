"""Starts, finds, stops and hands over the runs of this gateway."""

import asyncio
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

from gateway.metrics import GatewayMetrics
from gateway.peers.clients import Peers, invoke
from gateway.peers.retry import PEER_ERRORS, classify
from gateway.runs.checkpointer import Checkpointer, Lease
from gateway.runs.context import RunContext
from gateway.runs.followed_stories import FollowedStories
from gateway.runs.ledger import Ledger, requested_at
from gateway.runs.live_story import End, LiveStory
from gateway.runs.run import Run
from gateway.settings import GatewaySettings
from servicekit.context import Caller, RequestContext, bound, current_or_none, present_owner
from servicekit.errors import reconnect
from servicekit.ids import new_id
from servicekit.tracing import Tracer
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_UNSPECIFIED: Final = common_pb2.STORY_STATE_UNSPECIFIED
RUN_LOST: Final = "RUN_LOST"
"""Reason of an attempt whose run was killed before the attempt ended."""

_SPARE_PART: Final = 8
"""One place of so many, and one at least, is for callers that have no run here."""

_LEAST_SHARED: Final = 4
"""With fewer places none is for them: one that is free while stories wait would be a third of all, or more."""

MOST_RELEASED: Final = 1000
"""Maximum number of leases that one call gives back."""

log = structlog.get_logger(__name__)


class Runs:
    """The runs of this gateway, by story."""

    def __init__(
        self,
        peers: Peers,
        settings: GatewaySettings,
        checkpointer: Checkpointer,
        followed: FollowedStories,
        metrics: GatewayMetrics | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._metrics = metrics or GatewayMetrics()
        self._peers = peers
        self._settings = settings
        self._followed = followed
        self._checkpointer = checkpointer
        # Waiting stories have no lease: any replica may claim them, and their time does not run yet.
        self.stories_wait = False
        """True while stories may wait in storage for a place: new ones queue behind them."""
        self.place_free = asyncio.Event()
        """Set when there is a place for a story that waits."""
        self._runs: dict[str, Run] = {}
        self._reserved = 0
        # Owners whose first run here is being created.
        self._arriving = set[str]()
        # A single caller needs none.
        shared = settings.auth != "none" and settings.max_runs >= _LEAST_SHARED
        self._spare = max(1, settings.max_runs // _SPARE_PART) if shared else 0
        self._draining = False

    @property
    def room(self) -> int:
        """How many more runs of any owner can start now."""
        return max(0, self._free - self._spare)

    @property
    def _free(self) -> int:
        return 0 if self._draining else max(0, self._settings.max_runs - self.count - self._reserved)

    @property
    def count(self) -> int:
        """Number of runs."""
        return len(self._runs)

    @property
    def limit(self) -> int:
        """Maximum number of runs."""
        return self._settings.max_runs

    def __iter__(self) -> Iterator[Run]:
        """Yields each run."""
        return iter(self._runs.values())

    @contextmanager
    def place(self) -> Iterator[storage_pb2.LeaseRequest | None]:
        """Reserves the place of one run; yields the lease to request, or None: the story waits in storage for its turn.

        The last places are for callers that have no run here: theirs starts at once, whatever waits. The run is started
        within the block; else the place is free again. Raises RECONNECT once this gateway is shutting down.
        """
        self.refuse_if_draining()
        owner = present_owner()
        first = self._spare > 0 and owner not in self._arriving and not self._has_run(owner)
        arriving = {owner} if first else set[str]()
        self._arriving |= arriving
        try:
            with self.places(1 if first or not self.stories_wait else 0, first=first) as places:
                yield self.new_lease() if places else None
                self.stories_wait |= not places
        finally:
            self._arriving -= arriving

    def _has_run(self, owner: str) -> bool:
        return any(run.context.record.owner == owner for run in self._runs.values())

    @contextmanager
    def places(self, most: int, *, first: bool = False) -> Iterator[int]:
        """Reserves the places of `most` runs, or of as many as there is room for; yields the number.

        `first`: of those that are for first runs of callers, too.
        """
        number = min(most, self._free if first else self.room)
        self._reserved += number
        try:
            yield number
        finally:
            self._reserved -= number
            self._wake_claimer()

    @property
    def claim_seconds(self) -> float:
        """Seconds within which a claim must be answered: before the first lease of a run here expires.

        A later one could take a story from its own run, which holds what it could not store. Not above 0 while a lease
        has expired.
        """
        leases = (run.context.lease.remaining for run in self._runs.values() if not run.ending)
        return min(leases, default=math.inf) - self._settings.lease_seconds / 6

    def new_lease(self) -> storage_pb2.LeaseRequest:
        """Returns the request for the lease of a run."""
        request = storage_pb2.LeaseRequest()
        request.duration.FromNanoseconds(int(self._settings.lease_seconds * 1e9))
        return request

    def refuse_if_draining(self) -> None:
        """Raises RECONNECT once this gateway is shutting down."""
        if self._draining:
            raise reconnect()

    def start(self, record: storage_pb2.StoryRecord, *, since: float, pickup_count: int = 0) -> LiveStory:
        """Starts the run of a story, under the lease in `record` that was requested at `since` (`time.monotonic`)."""
        story_id = record.story.id
        present = self._runs.get(story_id)
        if present is not None and present.context.lease.token >= record.run.lease_token:
            return present.context.live
        if present is not None:
            present.story_ended(_UNSPECIFIED)
        # No two clocks are compared: what earlier runs worked is as storage counted it.
        worked = record.run.work_duration.ToNanoseconds() / 1e9
        seconds = self._settings.lease_seconds
        lease = Lease(story_id, record.run.lease_token, seconds=seconds, since=since, worked=worked)
        ledger = Ledger(record.story)
        # Open attempts are of an earlier run that was killed; how they ended is unknown.
        ledger.end_all(common_pb2.ATTEMPT_OUTCOME_CANCELLED, RUN_LOST)
        context = RunContext(
            record=record,
            lease=lease,
            live=LiveStory(record.story),
            ledger=ledger,
            peers=self._peers,
            checkpointer=self._checkpointer,
            settings=self._settings,
            metrics=self._metrics,
            requested=requested_at(record),
        )
        if not record.run.work_duration.ToNanoseconds():
            self._metrics.began(context.times.seconds)
        call = current_or_none()
        request_id = call.request_id if call is not None else new_id()
        trace, span = (call.trace, call.span) if call is not None else (None, None)
        named = {"story_id": story_id}
        with bound(RequestContext(request_id, Caller(record.owner), named=named, trace=trace, span=span)):
            run = self._runs[story_id] = Run(context, pickup_count=pickup_count, tracer=self._tracer)
        run.task.add_done_callback(lambda _: self._ended(story_id, run))
        # Its watchers get it from the run now, and the follower has a run to follow.
        self._followed.release(story_id)
        self._followed.wanted.set()
        return context.live

    def live(self, story_id: str, *, owner: str) -> LiveStory | None:
        """Returns what is released of a story of `owner` that has a run here; else None."""
        present = self._runs.get(story_id)
        return present.context.live if present is not None and present.context.record.owner == owner else None

    def waiting(self, caller: Caller) -> Iterator[tuple[str, common_pb2.Waiting]]:
        """Yields the stories with a run here that wait, and what for: all for an operator, else those of `caller`."""
        for story_id, run in self._runs.items():
            record, waiting = run.context.record, run.context.live.waits.shown
            own = record.owner == caller.owner
            bound_to = caller.children is None or record.story.child_id in caller.children
            if waiting is not None and (caller.operator or (own and bound_to)):
                yield story_id, waiting

    def positions(self) -> Sequence[storage_pb2.StoryPosition]:
        """Returns the position of each run, by its lease token, except of runs that are storing the end."""
        return [
            storage_pb2.StoryPosition(story_id=story_id, lease_token=run.context.lease.token)
            for story_id, run in self._runs.items()
            if not run.ending
        ]

    async def stop(self, story_id: str, state: common_pb2.StoryState.ValueType = _UNSPECIFIED) -> bool:
        """Stops the run of a story that has ended at `state`, or is deleted; returns False if it has no run here.

        Returns when the ledger is stored, or storage does not respond in time.
        """
        run = self._runs.get(story_id)
        if run is None:
            return False
        run.story_ended(state)
        await asyncio.wait([run.task])
        return True

    async def erased(self, child_id: str) -> None:
        """Stops the runs of all stories of an erased child."""
        for story_id, run in list(self._runs.items()):
            if run.context.record.story.child_id == child_id:
                await self.stop(story_id)

    def ended_elsewhere(self, change: storage_pb2.StoryChange, token: int) -> None:
        """Stops the run with this lease token: its story has ended, is deleted or has another run."""
        run = self._runs.get(change.story_id)
        if run is not None and run.context.lease.token == token and not run.ending:
            log.info("run ended elsewhere", story_id=change.story_id, state=common_pb2.StoryState.Name(change.state))
            run.story_ended(change.state)

    async def hand_over(self) -> None:
        """Stops all runs, ends the streams of all watchers with RECONNECT, and gives the leases back."""
        self._draining = True
        self._followed.hand_over()
        runs = list(self._runs.values())
        for run in runs:
            run.context.live.finish(End.HANDED_OVER)
            run.task.cancel()
        if not runs:
            return
        await asyncio.wait([run.task for run in runs])
        leases = [
            storage_pb2.HeldLease(story_id=run.context.lease.story_id, lease_token=run.context.lease.token)
            for run in runs
        ]
        with bound(RequestContext(new_id())):
            try:
                for first in range(0, len(leases), MOST_RELEASED):
                    request = storage_pb2.ReleaseStoriesRequest(leases=leases[first : first + MOST_RELEASED])
                    await invoke(self._peers.storage.ReleaseStories, request)
            except PEER_ERRORS as error:
                # The leases expire by themselves; the stories only wait longer.
                log.warning("hand over failed", stories=len(leases), reason=classify(error).reason)
        log.info("handed over", stories=len(leases))

    def _ended(self, story_id: str, run: Run) -> None:
        if self._runs.get(story_id) is run:
            del self._runs[story_id]
            self._wake_claimer()

    def _wake_claimer(self) -> None:
        if self.stories_wait and self.room:
            self.place_free.set()
