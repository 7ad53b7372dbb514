"""Asks storage what is new, in one batched call for all stories that this gateway shows or makes."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

import structlog

from gateway.followed import ENDED, FollowedStories
from gateway.siblings import SIBLING_ERRORS, classify
from servicekit.context import RequestContext, bound
from servicekit.failures import log_defect
from servicekit.ids import new_id
from tale.storage.v1 import storage_pb2

INTERVAL_SECONDS: Final = 0.8
"""Seconds between calls: what another gateway makes is shown at most a second late."""
MAX_POSITIONS: Final = 1000
CALL_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class Storage(Protocol):
    """What the follower needs of storage."""

    async def follow(
        self, positions: Sequence[storage_pb2.StoryPosition], *, timeout: float
    ) -> storage_pb2.FollowStoriesResponse:
        """Returns what is new behind `positions`, at most 1,000."""


class Runs(Protocol):
    """The stories that this gateway makes."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def full(self) -> bool:
        """Whether no more can be taken up for now."""

    def positions(self) -> Sequence[storage_pb2.StoryPosition]:
        """One of each, with its lease token."""

    def ended_elsewhere(self, change: storage_pb2.StoryChange, token: int) -> None:
        """The story of the run with this lease token has ended, is deleted or is another run's."""


class Claimer(Protocol):
    """What takes stories up."""

    async def adopt(self, story_ids: Sequence[str]) -> None:
        """Takes up those of the stories that no run holds, as far as there is room."""


class Follower:
    """Writes what is new into the followed stories, stops runs whose story ended, and adopts orphans."""

    def __init__(
        self,
        storage: Storage,
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
        """Asks until cancelled; not at all while nothing is followed and nothing runs."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        with bound(RequestContext(request_id=f"follow-{new_id()}", owner="local")):
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
                    if await self._ask(everything=everything):
                        due = loop.time()
                except Exception as error:  # noqa: BLE001 - a defect in one round must not end all of them
                    log_defect(error)

    async def _ask(self, *, everything: bool) -> bool:
        """Asks for all stories, or for those that storage was never asked about; True where more is new."""
        positions = [*self._followed.positions(fresh=not everything, orphans=not self._runs.full)]
        if everything:
            positions += self._runs.positions()
        more = False
        for first in range(0, len(positions), MAX_POSITIONS):
            batch = positions[first : first + MAX_POSITIONS]
            try:
                answer = await self._storage.follow(batch, timeout=CALL_SECONDS)
            except SIBLING_ERRORS as error:
                if not self._away:
                    log.warning("stories_not_followed", reason=classify(error).error.reason)
                self._away = True
                return False
            self._away = False
            await self._apply(answer.changes, {each.story_id: each.lease_token for each in batch})
            more = more or answer.truncated
        return more

    async def _apply(self, changes: Sequence[storage_pb2.StoryChange], tokens: dict[str, int]) -> None:
        orphans = []
        for change in changes:
            if token := tokens[change.story_id]:
                self._runs.ended_elsewhere(change, token)
                continue
            self._followed.apply(change)
            if not (change.leased or change.deleted or change.state in ENDED):
                orphans.append(change.story_id)
        if orphans:
            await self._claimer.adopt(orphans)
