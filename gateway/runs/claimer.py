"""Claims orphaned stories and starts a run for each: watched stories at once, all others by polling."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog

from gateway.metrics import GatewayMetrics
from gateway.peers.clients import CALL_SECONDS, StorageStub, invoke, read_story
from gateway.peers.retry import PEER_ERRORS, classify
from gateway.runs.active import Runs
from servicekit.context import Caller, RequestContext, bound
from servicekit.errors import unavailable
from servicekit.ids import new_id
from servicekit.logging import log_defect
from tale.storage.v1 import storage_pb2

CLAIM_AT_ONCE: Final = 20
MOST_NAMED: Final = 100
"""Maximum number of stories that one claim can name."""

log = structlog.get_logger(__name__)


class Claimer:
    """Claims stories whose lease has expired or was given back."""

    def __init__(
        self, storage: StorageStub, runs: Runs, *, interval_seconds: float, metrics: GatewayMetrics | None = None
    ) -> None:
        self._metrics = metrics or GatewayMetrics()
        self._storage = storage
        self._runs = runs
        self._interval_seconds = interval_seconds

    async def run(self) -> None:
        """Polls for orphaned and waiting stories until cancelled; at once when there is a place for a waiting one."""
        while True:
            try:
                self._runs.stories_wait = True
                while self._runs.stories_wait and self._runs.room:
                    with bound(RequestContext(new_id())):
                        await self._claim_next()
            except PEER_ERRORS as error:
                log.warning("claim failed", reason=classify(error).reason)
                self._runs.place_free.clear()
            except Exception as error:  # noqa: BLE001 - a defect in one round must not end the poller
                log_defect(error)
                self._runs.place_free.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_seconds):
                    await self._runs.place_free.wait()
            self._runs.place_free.clear()

    async def adopt(self, story_ids: Sequence[str]) -> None:
        """Claims those of the stories that are orphaned, as far as there is room and no other story waits for it."""
        if self._runs.stories_wait:
            return
        with self._runs.places(min(CLAIM_AT_ONCE, len(story_ids))) as places:
            if places:
                request = storage_pb2.ClaimStoriesRequest(max_count=places, story_ids=story_ids[:MOST_NAMED])
                try:
                    await self._claim(request)
                except PEER_ERRORS as error:
                    # The poller finds them.
                    log.warning("claim failed", reason=classify(error).reason)

    async def _claim_next(self) -> None:
        """Claims the stories that have waited longest; notes whether there may be more."""
        with self._runs.places(CLAIM_AT_ONCE) as places:
            # A story that is stored meanwhile sets it again.
            self._runs.stories_wait = False
            try:
                claimed = await self._claim(storage_pb2.ClaimStoriesRequest(max_count=places))
            except PEER_ERRORS:
                self._runs.stories_wait = True
                raise
            self._runs.stories_wait |= claimed == places

    async def _claim(self, request: storage_pb2.ClaimStoriesRequest) -> int:
        if (left := self._runs.claim_seconds) <= 0:
            # Storage is or was away; new stories still queue behind those that wait there.
            raise unavailable("STORAGE_UNAVAILABLE", "The runs here store what they hold first.")
        request.lease.CopyFrom(self._runs.new_lease())
        since = time.monotonic()
        response = await invoke(self._storage.ClaimStories, request, timeout=min(CALL_SECONDS, left), repeatable=True)
        # Concurrently: their leases are running, and watchers wait for the stories.
        await asyncio.gather(*(self._start_or_leave(claimed, since) for claimed in response.stories))
        return len(response.stories)

    async def _start_or_leave(self, claimed: storage_pb2.ClaimedStory, since: float) -> None:
        with bound(RequestContext(new_id(), Caller(claimed.owner))):
            try:
                await self._start(claimed, since)
            except PEER_ERRORS as error:
                # The story was deleted meanwhile, or storage is away: one story must not delay the others.
                log.warning("claimed story not started", story_id=claimed.story_id, reason=classify(error).reason)

    async def _start(self, claimed: storage_pb2.ClaimedStory, since: float) -> None:
        record = await read_story(self._storage, claimed.story_id, full=True)
        if record.run.lease_token == claimed.lease_token:
            log.info("story claimed", story_id=claimed.story_id, pickup_count=claimed.pickup_count)
            self._metrics.claimed(claimed.pickup_count)
            self._runs.start(record, since=since, pickup_count=claimed.pickup_count)
