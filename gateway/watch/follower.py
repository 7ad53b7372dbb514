"""Follows stories in storage, in one batched call for all stories that this gateway shows or makes."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog

from gateway.peers.clients import StorageStub, invoke, read_story
from gateway.peers.retry import PEER_ERRORS, classify
from gateway.runs.active import Runs
from gateway.runs.claimer import Claimer
from gateway.runs.followed_stories import ENDED, FollowedStories
from gateway.runs.live_story import LiveStory
from gateway.runs.waits import LATE_SECONDS
from servicekit.context import Caller, RequestContext, bound
from servicekit.ids import new_id
from servicekit.logging import log_defect
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

INTERVAL_SECONDS: Final = 0.8
"""Seconds between calls: a story that has a run elsewhere is shown at most one second late."""
MAX_POSITIONS: Final = 1000
CALL_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class Follower:
    """Writes changes into the followed stories, stops runs whose story has ended, and adopts orphaned stories."""

    def __init__(
        self,
        storage: StorageStub,
        runs: Runs,
        claimer: Claimer,
        followed: FollowedStories,
        *,
        interval: float = INTERVAL_SECONDS,
    ) -> None:
        self._storage = storage
        self._runs = runs
        self._claimer = claimer
        self._followed = followed
        self._interval = interval
        self._away = False

    async def run(self) -> None:
        """Polls until cancelled; makes no calls while no story is followed and no run is active."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        with bound(RequestContext(f"follow-{new_id()}")):
            while True:
                if not self._followed and not self._runs.count:
                    await self._followed.wanted.wait()
                    due = loop.time() + self._interval
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await self._followed.wanted.wait()
                everything = loop.time() >= due
                if everything:
                    due = loop.time() + self._interval
                try:
                    if await self._poll(everything=everything):
                        due = loop.time()
                except Exception as error:  # noqa: BLE001 - a defect in one round must not end all of them
                    log_defect(error)

    async def _poll(self, *, everything: bool) -> bool:
        """Requests the changes of all stories, or of newly followed ones; returns True if there are more."""
        positions = [*self._followed.positions(fresh=not everything, orphans=self._adopts)]
        if everything:
            positions += self._runs.positions()
        more = False
        for first in range(0, len(positions), MAX_POSITIONS):
            batch = positions[first : first + MAX_POSITIONS]
            request = storage_pb2.FollowStoriesRequest(positions=batch)
            late = asyncio.get_running_loop().call_later(LATE_SECONDS, self._followed.wait_for_storage)
            try:
                response = await invoke(self._storage.FollowStories, request, timeout=CALL_SECONDS)
            except PEER_ERRORS as error:
                if not self._away:
                    log.warning("stories not followed", reason=classify(error).reason)
                self._away = True
                self._followed.wait_for_storage()
                return False
            finally:
                late.cancel()
            self._away = False
            self._followed.storage_responded()
            await self._apply(response.changes, {each.story_id: each.lease_token for each in batch})
            more = more or response.truncated
        return more

    @property
    def _adopts(self) -> bool:
        return self._runs.room > 0 and not self._runs.stories_wait

    async def _apply(self, changes: Sequence[storage_pb2.StoryChange], tokens: dict[str, int]) -> None:
        ended, orphans = [], []
        for change in changes:
            if token := tokens[change.story_id]:
                self._runs.ended_elsewhere(change, token)
            elif (live := self._followed.apply(change)) is None:
                continue
            elif change.state in ENDED:
                ended.append(live)
            elif not change.leased and change.state != common_pb2.STORY_STATE_PENDING:
                orphans.append(change.story_id)
        await asyncio.gather(*map(self._end, ended))
        if orphans:
            await self._claimer.adopt(orphans)

    async def _end(self, live: LiveStory) -> None:
        """Reads a story that has ended, once for all its watchers."""
        sequel = None
        with bound(RequestContext(f"follow-{new_id()}", Caller(live.owner))):
            try:
                record = await read_story(self._storage, live.story_id, full=True, timeout=CALL_SECONDS)
            except PEER_ERRORS as error:
                # Each watcher reads it, and waits for storage if necessary.
                log.warning("ended story not read", story_id=live.story_id, reason=classify(error).reason)
            else:
                sequel = LiveStory.ended(record) if record.story.state in ENDED else None
        self._followed.release(live.story_id, sequel)
