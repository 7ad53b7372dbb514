"""The stories that this gateway is making."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from gateway.peers.clients import Peers, ask
from gateway.peers.retry import PEER_ERRORS, classify
from gateway.runs.checkpointer import Checkpointer
from gateway.runs.context import RunContext
from gateway.runs.followed_stories import FollowedStories
from gateway.runs.lease import Lease
from gateway.runs.ledger import Ledger
from gateway.runs.live_story import End, LiveStory
from gateway.runs.run import Run
from gateway.settings import GatewaySettings
from servicekit.context import RequestContext, bound, current_or_none
from servicekit.errors import reconnect
from servicekit.ids import new_id
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_UNSPECIFIED: Final = common_pb2.STORY_STATE_UNSPECIFIED
RUN_LOST: Final = "RUN_LOST"
"""Reason of an attempt whose run was killed before it ended."""

MOST_RELEASED: Final = 1000
"""Leases that one call gives back."""

log = structlog.get_logger(__name__)


class Runs:
    """Starts, finds, stops and hands over runs."""

    def __init__(
        self,
        peers: Peers,
        settings: GatewaySettings,
        checkpointer: Checkpointer,
        followed: FollowedStories,
    ) -> None:
        self._peers = peers
        self._settings = settings
        self._followed = followed
        self._checkpointer = checkpointer
        # Stories that wait for a place have no lease: any replica may claim them, and their time does not run yet.
        self.place_free = asyncio.Event()
        """Set when a run ends at a gateway that was full."""
        self._runs: dict[str, Run] = {}
        self._draining = False

    @property
    def room(self) -> int:
        """How many more stories can be taken up now."""
        return 0 if self._draining else max(0, self._settings.max_runs - self.count)

    @property
    def count(self) -> int:
        """Stories that are being made here."""
        return len(self._runs)

    def lease_request(self) -> storage_pb2.LeaseRequest | None:
        """The lease to ask for with a new story; None where this gateway has its hands full: it then waits its turn."""
        self.refuse_if_draining()
        return self.new_lease() if self.room else None

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
        """Makes the story, under the lease in `record` that was asked for at `since` by `time.monotonic`."""
        story_id = record.story.id
        present = self._runs.get(story_id)
        if present is not None and present.context.lease.token >= record.run.lease_token:
            return present.context.live
        if present is not None:
            present.story_ended(_UNSPECIFIED)
        lease = Lease(story_id, record.run.lease_token, seconds=self._settings.lease_seconds, since=since)
        ledger = Ledger(record.story)
        # A run before this one was killed, and what its calls came to is not known.
        ledger.end_all(common_pb2.ATTEMPT_OUTCOME_CANCELLED, RUN_LOST)
        context = RunContext(
            record=record,
            lease=lease,
            live=LiveStory(record.story),
            ledger=ledger,
            peers=self._peers,
            checkpointer=self._checkpointer,
            settings=self._settings,
        )
        call = current_or_none()
        request_id = call.request_id if call is not None else new_id()
        with bound(RequestContext(request_id=request_id, owner=record.owner)):
            run = self._runs[story_id] = Run(context, pickup_count=pickup_count)
        run.task.add_done_callback(lambda _: self._ended(story_id, run))
        # Its watchers see it from here, and the follower learns that there is a run to ask for.
        self._followed.release(story_id)
        self._followed.wanted.set()
        return context.live

    def live(self, story_id: str, *, owner: str) -> LiveStory | None:
        """What is released of a story that is made here for `owner`."""
        present = self._runs.get(story_id)
        return present.context.live if present is not None and present.context.record.owner == owner else None

    def positions(self) -> Sequence[storage_pb2.StoryPosition]:
        """A position of each run, by its lease token. A run that stores the end of its story asks for nothing more."""
        return [
            storage_pb2.StoryPosition(story_id=story_id, lease_token=run.context.lease.token)
            for story_id, run in self._runs.items()
            if not run.ending
        ]

    async def stop(self, story_id: str, state: common_pb2.StoryState.ValueType = _UNSPECIFIED) -> bool:
        """Stops the run of a story that has ended at `state`, or is deleted; False where it is not here.

        Returns when its ledger is stored, or storage does not take it.
        """
        run = self._runs.get(story_id)
        if run is None:
            return False
        run.story_ended(state)
        await asyncio.wait([run.task])
        return True

    async def erased(self, child_id: str) -> None:
        """Stops the runs of all stories of a child that is erased."""
        for story_id, run in list(self._runs.items()):
            if run.context.record.story.child_id == child_id:
                await self.stop(story_id)

    def ended_elsewhere(self, change: storage_pb2.StoryChange, token: int) -> None:
        """Stops the run that has this lease token: its story has ended, is deleted or is another run's."""
        run = self._runs.get(change.story_id)
        if run is not None and run.context.lease.token == token and not run.ending:
            log.info("run_ended_elsewhere", story_id=change.story_id, state=common_pb2.StoryState.Name(change.state))
            run.story_ended(change.state)

    async def hand_over(self) -> None:
        """Stops all runs, has all watchers reconnect, and gives the leases back."""
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
        with bound(RequestContext(request_id=new_id(), owner="local")):
            try:
                for first in range(0, len(leases), MOST_RELEASED):
                    request = storage_pb2.ReleaseStoriesRequest(leases=leases[first : first + MOST_RELEASED])
                    await ask(self._peers.storage.ReleaseStories, request)
            except PEER_ERRORS as error:
                # The leases run out by themselves; the stories only wait longer.
                log.warning("hand_over_failed", stories=len(leases), reason=classify(error).reason)
        log.info("handed_over", stories=len(leases))

    def _ended(self, story_id: str, run: Run) -> None:
        if self._runs.get(story_id) is run:
            if not self.room:
                self.place_free.set()
            del self._runs[story_id]
