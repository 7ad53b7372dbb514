"""Storage's clock is set by an hour while two gateways work: no story changes hands, and none is stuck."""

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from support.house import House, house

from standins.storage_kit import stored_token
from standins.watcher import Watcher, spec
from storage_service.backends import SystemClock
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

HOUR = 3_600 * 1_000_000
STORIES = 6


def _house(folder: Path) -> AbstractAsyncContextManager[House]:
    return house(folder, words_per_second=25, lease_seconds=6.0, pickup_interval_seconds=0.2)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_clock_set_by_an_hour_takes_no_story_from_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    """Twice, while all are being written: each is made by the run that began it, under one lease."""
    set_by, machine = 0, SystemClock.now
    monkeypatch.setattr(SystemClock, "now", lambda clock: machine(clock) + set_by)
    async with _house(tmp_path) as home, home.another_gateway() as other:
        watchers = [Watcher() for _ in range(STORIES)]
        doors = [home.channel, other.channel]
        telling = [watcher.tell(doors[seed % 2], spec(seed, minutes=3)) for seed, watcher in enumerate(watchers)]
        for turn in range(2):
            for watcher in watchers:
                so_far = len(watcher.text)
                await watcher.until(lambda seen, so_far=so_far: len(seen.text) > so_far)
            if turn == 0:
                tokens = [await stored_token(home.storage, watcher.story_id) for watcher in watchers]
            set_by += jump
            await asyncio.sleep(7)
        await asyncio.gather(*telling)
        ids = [watcher.story_id for watcher in watchers]
        requests = [storage_pb2.GetStoryRequest(story_id=one, view=common_pb2.STORY_VIEW_FULL) for one in ids]
        records = [(await home.storage.GetStory(request)).record for request in requests]
    assert tokens == [record.run.lease_token for record in records]
    assert [common_pb2.STORY_STATE_READY] * STORIES == [record.story.state for record in records]
    # The time that the clock skipped is no work.
    assert max(record.run.work_duration.seconds for record in records) < 120


async def test_story_of_a_dead_gateway_is_claimed_after_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease would last for an hour more; it is taken within seconds."""
    set_by, machine = 0, SystemClock.now
    monkeypatch.setattr(SystemClock, "now", lambda clock: machine(clock) + set_by)
    async with _house(tmp_path) as home:
        request = storage_pb2.CreateStoryRequest(story_id="0197a5a0-0000-7000-8000-00000000000a", spec=spec(1))
        request.story.child.CopyFrom(spec(1).child)
        request.story.language_code, request.story.length_minutes = "en", 1
        request.story.kind = common_pb2.STORY_KIND_CHILD
        request.lease.duration.FromSeconds(6)
        await home.storage.CreateStory(request)
        set_by -= HOUR
        async with asyncio.timeout(20):
            while (await home.get(request.story_id)).state != common_pb2.STORY_STATE_READY:  # noqa: ASYNC110 - by polling
                await asyncio.sleep(0.1)
