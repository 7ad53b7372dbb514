"""Places for runs: as many as are set, given in order of creation, and cheap to wait for."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from gateway.peers.clients import Peers
from gateway.runs import active
from gateway.runs.active import Runs
from gateway.runs.claimer import Claimer
from gateway.runs.followed_stories import FollowedStories
from gateway.settings import GatewaySettings
from gateway.watch.follower import Follower
from servicekit.context import Caller, RequestContext, bound, current
from servicekit.errors import DomainError
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

PENDING, WRITING = common_pb2.STORY_STATE_PENDING, common_pb2.STORY_STATE_WRITING


class Run:
    """Plays a run that lasts until it is ended."""

    present: list["Run"] = []  # noqa: RUF012 - one test at a time
    most = 0

    def __init__(self, context: Any, *, pickup_count: int, tracer: object = None) -> None:
        del tracer
        assert pickup_count >= 0
        self.context = context
        context.lease.renewed(time.monotonic())
        self.ending = False
        self._over = asyncio.Event()
        Run.present.append(self)
        Run.most = max(Run.most, len(Run.present))
        self.task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        await self._over.wait()

    async def end(self) -> None:
        """Ends it."""
        Run.present.remove(self)
        self._over.set()
        await self.task
        await asyncio.sleep(0)


class Storage:
    """Plays storage: stories wait in order of creation until they are claimed. Every call takes a moment."""

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self.claims = 0
        self.reads = 0
        self.news = 0
        self.away = False

    async def create(self, runs: Runs, story_id: str) -> None:
        """Does what CreateStory of the gateway does."""
        with runs.place() as lease:
            await asyncio.sleep(0.001)
            if lease is None:
                self.waiting.append(story_id)
            else:
                runs.start(self.record(story_id), since=0)

    @staticmethod
    def record(story_id: str) -> storage_pb2.StoryRecord:
        """A story under its first lease."""
        record = storage_pb2.StoryRecord(story=common_pb2.Story(id=story_id, state=PENDING), owner=current().owner)
        record.run.lease_token = 1
        return record

    async def ClaimStories(  # noqa: N802
        self, request: storage_pb2.ClaimStoriesRequest, **_: Any
    ) -> storage_pb2.ClaimStoriesResponse:
        self.claims += 1
        await asyncio.sleep(0.001)
        if self.away:
            raise DomainError("STORAGE_UNAVAILABLE", "Away.")
        taken = [each for each in self.waiting if not request.story_ids or each in request.story_ids]
        taken = taken[: request.max_count]
        self.waiting = [each for each in self.waiting if each not in taken]
        claimed = [storage_pb2.ClaimedStory(story_id=each, owner="o", lease_token=1, pickup_count=0) for each in taken]
        return storage_pb2.ClaimStoriesResponse(stories=claimed)

    async def GetStory(  # noqa: N802
        self, request: storage_pb2.GetStoryRequest, **_: Any
    ) -> storage_pb2.GetStoryResponse:
        self.reads += 1
        await asyncio.sleep(0.001)
        return storage_pb2.GetStoryResponse(record=self.record(request.story_id))

    async def FollowStories(  # noqa: N802
        self, request: storage_pb2.FollowStoriesRequest, **_: Any
    ) -> storage_pb2.FollowStoriesResponse:
        waiting = [each for each in request.positions if each.story_id in self.waiting and each.state != PENDING]
        self.news += len(waiting)
        changes = [storage_pb2.StoryChange(story_id=each.story_id, state=PENDING) for each in waiting]
        return storage_pb2.FollowStoriesResponse(changes=changes)


@asynccontextmanager
async def gateway(storage: Any, monkeypatch: pytest.MonkeyPatch, *, max_runs: int, **given: Any) -> AsyncIterator[Any]:
    """The runs of a gateway with its poller and follower; the poll is an hour away."""
    monkeypatch.setattr(active, "Run", Run)
    Run.present, Run.most = [], 0
    followed, checkpointer, none = FollowedStories(), None, None
    settings = GatewaySettings(max_runs=max_runs, **given)
    runs = Runs(Peers(storage, none, none), settings, checkpointer, followed)  # type: ignore[arg-type]
    claimer = Claimer(storage, runs, interval_seconds=3600)
    follower = Follower(storage, runs, claimer, followed, interval=0.002)
    with bound(RequestContext("r", Caller("o"))):
        tasks = [asyncio.create_task(claimer.run()), asyncio.create_task(follower.run())]
        try:
            yield runs, followed
        finally:
            for task in [*tasks, *(run.task for run in Run.present)]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def until(reached: Any) -> None:
    """Returns once it is so."""
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110 - there is nothing to wait for but the loop's turns
            await asyncio.sleep(0.001)


async def test_number_of_runs_is_exact_and_stories_start_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are created at the same time; each freed place goes to the story that has waited longest."""
    storage = Storage()
    async with gateway(storage, monkeypatch, max_runs=4) as (runs, _):
        await asyncio.gather(*(storage.create(runs, f"{number:02}") for number in range(30)))
        await until(lambda: 4 == len(Run.present))
        started = [run.context.live.story_id for run in Run.present]
        for number in range(26):
            await Run.present[0].end()
            await storage.create(runs, f"late {number:02}")
            await until(lambda: 4 == len(Run.present))
            started.append(Run.present[-1].context.live.story_id)
    assert 4 == Run.most
    assert [f"{number:02}" for number in range(30)] == started


async def test_place_of_a_call_that_fails_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes to a story that was refused it meanwhile."""
    storage = Storage()
    async with gateway(storage, monkeypatch, max_runs=1) as (runs, _):
        await until(lambda: not runs.stories_wait)
        with ExitStack() as stack:
            assert stack.enter_context(runs.place()) is not None
            await storage.create(runs, "s")
            assert ["s"] == storage.waiting
        await until(lambda: 1 == len(Run.present))
    assert 1 == Run.most


async def test_poller_does_not_insist_while_storage_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tries again when there is a reason, or with the next poll."""
    storage = Storage()
    storage.away = True
    async with gateway(storage, monkeypatch, max_runs=2) as (runs, _):
        await until(lambda: 1 == storage.claims)
        await asyncio.sleep(0.05)
        assert 1 == storage.claims
        storage.away = False
        await storage.create(runs, "s")
        await until(lambda: 1 == len(Run.present))


async def test_nothing_is_claimed_while_a_lease_here_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage was away: a claim could take a story from its own run, which holds what it could not store."""
    storage = Storage()
    async with gateway(storage, monkeypatch, max_runs=2) as (runs, _):
        await until(lambda: 1 == storage.claims and not runs._reserved)
        await storage.create(runs, "mine")
        lease = Run.present[0].context.lease
        before = storage.claims
        with monkeypatch.context() as later:
            later.setattr(type(lease), "remaining", -1.0)
            storage.waiting = ["orphan"]
            runs.stories_wait = True
            runs.place_free.set()
            await asyncio.sleep(0.02)
            assert before == storage.claims
            # New stories still queue behind what waits.
            assert runs.stories_wait
            await storage.create(runs, "new")
            assert ["orphan", "new"] == storage.waiting
        runs.place_free.set()
        await until(lambda: 2 == len(Run.present))
        assert "orphan" == Run.present[-1].context.live.story_id


async def test_watching_a_story_that_waits_costs_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls follow the changes, not the number of polls times that of the stories."""
    storage = Storage()
    async with gateway(storage, monkeypatch, max_runs=2) as (runs, followed):
        await asyncio.gather(*(storage.create(runs, f"{number:03}") for number in range(200)))
        await until(lambda: 2 == len(Run.present))
        with ExitStack() as stack:
            for story_id in list(storage.waiting):
                stack.enter_context(followed.watched(storage.record(story_id)))
            for _ in range(198):
                await Run.present[0].end()
                await until(lambda: 2 == len(Run.present))
        await Run.present[0].end()
    # Each claimed story is read once, to be made.
    assert 198 <= storage.reads <= 200
    assert 0 == storage.news
    assert storage.claims <= 2 * 200


@pytest.mark.parametrize(("places", "room"), [(1, 1), (2, 2), (3, 3), (4, 3), (7, 6), (8, 7), (64, 56)])
async def test_a_place_is_spared_wherever_there_are_four(places: int, room: int) -> None:
    """For callers that have no run; of two or three it would be too large a part."""
    settings = GatewaySettings(auth="api_key", max_runs=places)
    unused: Any = None
    assert room == Runs(unused, settings, unused, unused).room


async def test_first_story_of_a_caller_has_a_place_beside_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last eighth of the places is for callers without a run, one story each; a batch does not get it."""
    storage = Storage()
    async with gateway(storage, monkeypatch, max_runs=16, auth="api_key") as (runs, _):
        await until(lambda: 1 == storage.claims and not runs._reserved)
        await asyncio.gather(*(storage.create(runs, f"batch {number:02}") for number in range(40)))
        assert 14 == len(Run.present)
        with bound(RequestContext("r", Caller("single"))):
            await asyncio.gather(*(storage.create(runs, f"single {number}") for number in range(3)))
        assert ["single 0"] == [run.context.live.story_id for run in Run.present[14:]]
        assert {"single 1", "single 2"} <= set(storage.waiting)
        # What waits gets no place until there is one of those for all.
        await Run.present[0].end()
        assert 14 == len(Run.present)
        await Run.present[0].end()
        await until(lambda: 14 == len(Run.present))
    assert 15 == Run.most
