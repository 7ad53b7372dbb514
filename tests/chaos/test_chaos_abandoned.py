"""Runs without progress, and gateways that lose their stories."""

import asyncio
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from support.house import house, storage_settings
from support.servers import running

from servicekit.channel import open_channel
from servicekit.ids import new_id
from standins.watcher import Watcher, spec
from storage_service.bootstrap import build_app
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.storage.v1 import storage_pb2, storage_pb2_grpc
from voice_service.providers.mock.script import MockFault


async def claimed(storage: Any, story_id: str, times: int) -> None:
    """Claims a story `times` times as gateways that die at once."""
    for _ in range(times):
        request = storage_pb2.ClaimStoriesRequest(max_count=1, story_ids=[story_id])
        request.lease.duration.FromMilliseconds(20)
        async with asyncio.timeout(20):
            while not (await storage.ClaimStories(request, timeout=5)).stories:  # noqa: ASYNC110 - storage's clock decides
                await asyncio.sleep(0.005)


async def kept_by_nobody(storage: Any, wish: common_pb2.StorySpec) -> str:
    """Puts a story into storage as a gateway that died right after accepting it."""
    request = storage_pb2.CreateStoryRequest(story_id=new_id(), fingerprint=bytes(32), spec=wish)
    request.story.child.CopyFrom(wish.child)
    request.story.language_code = "en"
    request.story.length_minutes = 1
    request.story.narrate = True
    request.story.kind = common_pb2.STORY_KIND_CHILD
    await storage.CreateStory(request, timeout=5)
    return request.story_id


async def test_orphaned_story_is_claimed(tmp_path: Path) -> None:
    """By the poll, without a watcher."""
    async with house(tmp_path) as home:
        story_id = await kept_by_nobody(home.storage, spec(1))
        async with asyncio.timeout(20):
            while (await home.get(story_id)).state != common_pb2.STORY_STATE_READY:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)


async def test_watched_orphaned_story_is_claimed_before_the_poll(tmp_path: Path) -> None:
    """Watching takes it up at once."""
    async with house(tmp_path, pickup_interval_seconds=3600) as home:
        story_id = await kept_by_nobody(home.storage, spec(2))
        watcher = await home.watch(story_id)
    assert watcher.done is not None
    assert watcher.done.state == common_pb2.STORY_STATE_READY


async def test_run_without_progress_is_abandoned(tmp_path: Path) -> None:
    """After five claims without progress it ends FAILED / RUN_ABANDONED; RetryStory continues it."""
    async with running(build_app(storage_settings(tmp_path)), service="storage") as alone:
        storage: Any = storage_pb2_grpc.StorageServiceStub(alone.channel)
        story_id = await kept_by_nobody(storage, spec(3))
        await claimed(storage, story_id, 6)
    async with house(tmp_path) as home:
        watcher = await home.watch(story_id)
        assert watcher.done is not None
        assert watcher.done.state == common_pb2.STORY_STATE_FAILED
        assert [problem.reason for problem in watcher.done.problems] == ["RUN_ABANDONED"]
        await home.stub.RetryStory(gateway_pb2.RetryStoryRequest(story_id=story_id), timeout=5)
        again = await home.watch(story_id)
    assert again.done is not None
    assert again.done.state == common_pb2.STORY_STATE_READY


async def test_run_beyond_its_timeout_ends_with_its_text(tmp_path: Path) -> None:
    """The text is complete, the voice stalls: READY_WITHOUT_AUDIO / RUN_ABANDONED."""
    faults = [MockFault.model_validate({"kind": "stall", "at": 0.0, "times": None})]
    async with house(tmp_path, faults=faults, run_timeout_seconds=1.0, voice={"segment_seconds": 2.0}) as home:
        watcher = await home.tell(spec(4))
    assert watcher.done is not None
    assert watcher.done.state == common_pb2.STORY_STATE_READY_WITHOUT_AUDIO
    assert [problem.reason for problem in watcher.done.problems] == ["RUN_ABANDONED"]
    assert watcher.done.content_complete


async def test_run_that_lost_its_lease_writes_nothing_more(tmp_path: Path) -> None:
    """The fence: a cancel from elsewhere takes the lease, the run ends, its watcher gets the stored end."""
    async with house(tmp_path, words_per_second=100) as home:
        watcher = Watcher()
        telling = watcher.tell(home.channel, spec(5, minutes=5))
        await watcher.until(lambda seen: bool(seen.text))
        change = storage_pb2.UpdateStoryRequest(story_id=watcher.story_id, cancel=storage_pb2.CancelChange())
        answer = await home.storage.UpdateStory(change, timeout=5)
        await telling
        kept = await home.get(watcher.story_id)
    assert watcher.done is not None
    assert watcher.done.state == kept.state == common_pb2.STORY_STATE_CANCELLED
    assert kept.content == answer.record.story.content == watcher.text


async def test_gateway_at_its_maximum_of_runs_leaves_stories_pending(tmp_path: Path) -> None:
    """Stories beyond the bound are accepted, wait PENDING, and are made in turn."""
    async with house(tmp_path, max_runs=2, pickup_interval_seconds=0.05) as home:
        stories = [await home.create(spec(seed)) for seed in range(10, 18)]
        seen = await asyncio.gather(*(home.watch(story.id) for story in stories))
    states = {watcher.done.state for watcher in seen if watcher.done is not None}
    assert states == {common_pb2.STORY_STATE_READY}


async def test_waiting_story_uses_none_of_its_run_timeout(tmp_path: Path) -> None:
    """A story that waits PENDING holds no lease and is not given up, however long the others take."""
    async with house(tmp_path, max_runs=1, run_timeout_seconds=6, words_per_second=100) as home:
        stories = [await home.create(spec(seed, minutes=1)) for seed in range(31, 36)]
        seen = await asyncio.gather(*(home.watch(story.id) for story in stories))
        kept = [await home.get(story.id) for story in stories]
    assert {common_pb2.STORY_STATE_READY} == {watcher.done.state for watcher in seen if watcher.done is not None}
    assert {1} == {
        len([line for line in story.attempts if line.kind == common_pb2.ATTEMPT_KIND_WRITING]) for story in kept
    }


async def test_narration_whose_segments_are_lost_starts_over(tmp_path: Path) -> None:
    """Under a new audio id, from byte 0, never by a silent switch."""
    watcher = Watcher()
    async with house(tmp_path, words_per_second=100) as home:
        channel = open_channel(home.servers["gateway"].address)
        telling = watcher.tell(channel, spec(6, minutes=2))
        await watcher.until(lambda seen: len(seen.segments) > 2)
    await telling
    await channel.close()
    assert watcher.error is not None
    before = (watcher.audio_id, watcher.text)
    await asyncio.to_thread(shutil.rmtree, tmp_path / "storage" / "segments")
    async with house(tmp_path) as home:
        await watcher.to_the_end(home.channel)
        kept = await home.get(watcher.story_id)
    assert kept.state == common_pb2.STORY_STATE_READY
    assert watcher.audio_id == kept.audio.audio_id != before[0]
    assert watcher.audio_sha256 == kept.audio.sha256
    assert kept.content.startswith(before[1])


async def test_restarted_gateway_continues_with_the_same_bytes(tmp_path: Path) -> None:
    """The narration keeps its id, and what was spoken is not spoken again."""
    watcher = Watcher()
    async with house(tmp_path, words_per_second=100) as home:
        channel = open_channel(home.servers["gateway"].address)
        telling = watcher.tell(channel, spec(7, minutes=2))
        await watcher.until(lambda seen: len(seen.segments) > 2)
    await telling
    await channel.close()
    before, calls = (watcher.audio_id, bytes(watcher.audio)), home.journal.calls
    async with house(tmp_path) as home:
        await watcher.to_the_end(home.channel)
        kept = await home.get(watcher.story_id)
    assert watcher.audio_id == before[0] == kept.audio.audio_id
    assert bytes(watcher.audio[: len(before[1])]) == before[1]
    assert watcher.audio_sha256 == kept.audio.sha256
    assert calls + home.journal.calls == len(kept.audio.segments)


async def test_cluster_that_was_stopped_longer_than_the_timeout_goes_on(tmp_path: Path) -> None:
    """Time in which no run holds a story is no work."""
    watcher = Watcher()
    async with house(tmp_path, words_per_second=100, run_timeout_seconds=3) as home:
        channel = open_channel(home.servers["gateway"].address)
        telling = watcher.tell(channel, spec(8, minutes=1))
        await watcher.until(lambda seen: len(seen.segments) > 1)
    await telling
    await channel.close()
    await asyncio.sleep(3.5)
    async with house(tmp_path, run_timeout_seconds=3) as home:
        await watcher.to_the_end(home.channel)
        kept = await home.get(watcher.story_id)
    assert kept.state == common_pb2.STORY_STATE_READY, kept.problems


async def test_gateway_with_a_wrong_clock_makes_its_stories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is four hours ahead of storage, or behind; the timeout is four hours."""
    for seed, minutes in ((9, 240), (10, -240)):

        def wrong(ahead: int = 60 * minutes) -> Timestamp:
            moment = Timestamp()
            moment.FromSeconds(int(time.time()) + ahead)
            return moment

        monkeypatch.setattr("gateway.runs.ledger.now", wrong)
        monkeypatch.setattr("gateway.runs.run.now", wrong)
        async with house(tmp_path) as home:
            watcher = await home.tell(spec(seed))
        assert watcher.done is not None
        assert watcher.done.state == common_pb2.STORY_STATE_READY, watcher.done.problems
