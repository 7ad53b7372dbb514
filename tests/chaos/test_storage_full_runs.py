"""The disk is full for several leases while stories are told: runs hold what they have and go on with room again."""

import asyncio
from pathlib import Path

import pytest
from support.house import house
from support.small_disk import fill, small_disk

from standins.watcher import Watcher, spec
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

STORIES = 4
LEASE = 6.0


async def test_stories_go_on_after_a_full_disk(tmp_path: Path) -> None:
    """None fails, changes hands or is written twice."""
    with small_disk(tmp_path / "disk", 96) as disk:
        async with house(disk, words_per_second=15, lease_seconds=LEASE) as home, home.another_gateway() as other:
            watchers = [Watcher() for _ in range(STORIES)]
            doors = [home.channel, other.channel]
            telling = [watcher.tell(doors[seed % 2], spec(seed, minutes=2)) for seed, watcher in enumerate(watchers)]
            for watcher in watchers:
                await watcher.until(lambda seen: len(seen.segments) > 1)
            filler = fill(disk)
            await asyncio.sleep(4 * LEASE)
            states = [(await home.get(watcher.story_id)).state for watcher in watchers]
            filler.unlink()
            await asyncio.gather(*telling)
            requests = [
                storage_pb2.GetStoryRequest(story_id=watcher.story_id, view=common_pb2.STORY_VIEW_FULL)
                for watcher in watchers
            ]
            records = [(await home.storage.GetStory(request)).record for request in requests]
    assert common_pb2.STORY_STATE_READY not in states
    assert [common_pb2.STORY_STATE_READY] * STORIES == [record.story.state for record in records]
    writing = common_pb2.ATTEMPT_KIND_WRITING
    assert [1] * STORIES == [sum(attempt.kind == writing for attempt in record.story.attempts) for record in records]
