"""Stories of other gateways: one batched call for all, written into the same live stories as local ones."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from gateway.runs import followed_stories as followed_module
from gateway.runs.followed_stories import FollowedStories
from gateway.runs.live_story import End, LiveStory
from gateway.watch.follower import MAX_POSITIONS, Follower
from servicekit.context import current
from servicekit.errors import DomainError
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

Change = storage_pb2.StoryChange
WRITING, NARRATING, READY = (
    common_pb2.STORY_STATE_WRITING,
    common_pb2.STORY_STATE_NARRATING,
    common_pb2.STORY_STATE_READY,
)


def record(story_id: str, **story: object) -> storage_pb2.StoryRecord:
    """A story that is being written."""
    it = storage_pb2.StoryRecord(story=common_pb2.Story(id=story_id, state=WRITING, **story))  # type: ignore[arg-type]
    it.owner = "o"
    it.run.lease_expire_time.GetCurrentTime()
    return it


class Storage:
    """Plays storage: records the positions, and returns the changes of their stories."""

    def __init__(self) -> None:
        self.asked: list[list[storage_pb2.StoryPosition]] = []
        self.changes: dict[str, Change] = {}
        self.truncated = 0
        self.ended: storage_pb2.StoryRecord | None = None
        self.reads: list[str] = []
        self.failures: list[Exception] = []
        self.asking = asyncio.Condition()

    async def FollowStories(  # noqa: N802
        self, request: storage_pb2.FollowStoriesRequest, *, timeout: float, **_: Any
    ) -> storage_pb2.FollowStoriesResponse:
        assert timeout > 0
        positions = request.positions
        async with self.asking:
            self.asked.append(list(positions))
            self.asking.notify_all()
        if self.failures:
            raise self.failures.pop(0)
        answer = storage_pb2.FollowStoriesResponse(truncated=self.truncated > 0)
        self.truncated -= 1
        answer.changes.extend(self.changes.pop(each.story_id) for each in positions if each.story_id in self.changes)
        return answer

    async def GetStory(  # noqa: N802
        self, request: storage_pb2.GetStoryRequest, **_: Any
    ) -> storage_pb2.GetStoryResponse:
        assert request.view == common_pb2.STORY_VIEW_FULL
        self.reads.append(current().owner)
        if self.ended is None:
            raise DomainError("UPSTREAM_UNAVAILABLE", "Away.")
        return storage_pb2.GetStoryResponse(record=self.ended)

    async def calls(self, count: int) -> None:
        """Returns after so many calls."""
        async with asyncio.timeout(10), self.asking:
            await self.asking.wait_for(lambda: len(self.asked) >= count)


class Runs:
    """Plays the runs of this gateway, and what takes stories up."""

    def __init__(self) -> None:
        self.tokens: dict[str, int] = {}
        self.room = 1
        self.stories_wait = False
        self.ended: list[tuple[str, int]] = []
        self.adopted: list[str] = []
        self.told = asyncio.Event()

    @property
    def count(self) -> int:
        return len(self.tokens)

    def positions(self) -> Sequence[storage_pb2.StoryPosition]:
        return [storage_pb2.StoryPosition(story_id=each, lease_token=token) for each, token in self.tokens.items()]

    def ended_elsewhere(self, change: Change, token: int) -> None:
        self.ended.append((change.story_id, token))
        del self.tokens[change.story_id]
        self.told.set()

    async def adopt(self, story_ids: Sequence[str]) -> None:
        self.adopted.extend(story_ids)


@asynccontextmanager
async def following(storage: Any, runs: Any, *, interval: float = 0.01) -> AsyncIterator[FollowedStories]:
    """A follower at work."""
    stories = FollowedStories()
    task = asyncio.create_task(Follower(storage, runs, runs, stories, interval=interval).run())
    try:
        yield stories
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_changes_are_written_into_the_live_story() -> None:
    """Title, text, narration, segments, warnings and state; the next call continues after them."""
    storage = Storage()
    change = Change(story_id="s", state=NARRATING, leased=True, title="T", content_complete=True)
    change.text.text = "once"
    change.narration.audio_id = "a"
    change.segments.add(index=0).audio.end = 10
    change.problems.add(reason="X")
    storage.changes["s"] = change
    async with following(storage, Runs()) as stories:
        with stories.watched(record("s")) as live:
            await storage.calls(2)
            assert live.title == "T"
            assert live.text == "once"
            assert live.text_complete
            assert live.state == NARRATING
            assert live.header == change.narration
            assert live.segments == list(change.segments)
            assert live.warnings == list(change.problems)
            known = storage.asked[-1][0]
    assert known.text_length == 4
    assert known.audio_id == "a"
    assert known.segment_count == 1
    assert known.problem_count == 1


async def test_known_text_and_segments_are_not_added_again() -> None:
    """An answer that overlaps what came meanwhile."""
    stories = FollowedStories()
    with stories.watched(record("s", content="on")) as live:
        for text in ("once", "once upon"):
            change = Change(story_id="s", state=NARRATING, leased=True)
            change.text.text = text
            change.narration.audio_id = "a"
            change.segments.extend(common_pb2.Segment(index=index) for index in range(len(text) // 4))
            stories.apply(change)
        assert live.text == "once upon"
        assert [segment.index for segment in live.segments] == [0, 1]


async def test_another_narration_replaces_the_one_that_was_followed() -> None:
    """Its segments start over."""
    stories = FollowedStories()
    with stories.watched(record("s")) as live:
        for audio_id in ("a", "b"):
            change = Change(story_id="s", state=NARRATING, leased=True)
            change.narration.audio_id = audio_id
            change.segments.add(index=0, key=audio_id)
            stories.apply(change)
        assert [segment.key for segment in live.segments] == ["b"]


async def test_watchers_of_a_story_share_it_until_the_last_leaves() -> None:
    """One position however many watch, none when all have left."""
    stories = FollowedStories()
    with stories.watched(record("s")) as one:
        with stories.watched(record("s")) as other:
            assert one is other
        assert len(stories.positions(fresh=False, orphans=False)) == 1
    assert not stories


async def test_story_that_is_deleted_is_no_longer_followed() -> None:
    """Its watchers look again where it is."""
    stories = FollowedStories()
    with stories.watched(record("s")) as live:
        stories.apply(Change(story_id="s", deleted=True))
        assert live.end is End.LEFT
        assert not stories


async def test_ended_story_is_read_once_for_all_its_watchers() -> None:
    """With its owner's rights; its watchers go on in what was read."""
    storage = Storage()
    storage.ended = record("s", title="T")
    storage.ended.story.state = READY
    storage.changes["s"] = Change(story_id="s", state=READY)
    async with following(storage, Runs()) as stories:
        with stories.watched(record("s")) as live, stories.watched(record("s")):
            await left(live)
            assert live.sequel is not None
            assert live.sequel.done == storage.ended.story
            assert live.sequel.title == "T"
            assert not stories
    assert storage.reads == ["o"]


async def test_watchers_read_an_ended_story_that_the_follower_could_not() -> None:
    """They wait for storage, and the others are followed meanwhile."""
    storage = Storage()
    storage.changes["s"] = Change(story_id="s", state=READY)
    async with following(storage, Runs()) as stories:
        with stories.watched(record("s")) as live:
            await left(live)
            assert live.sequel is None


async def left(live: LiveStory) -> None:
    """Returns once the story is followed no more."""
    async with asyncio.timeout(10):
        while live.end is None:
            await live.change().wait()
    assert live.end is End.LEFT


async def test_all_stories_and_runs_are_in_one_call() -> None:
    """The runs with their lease tokens."""
    storage, runs = Storage(), Runs()
    runs.tokens = {"r": 7}
    async with following(storage, runs) as stories:
        with stories.watched(record("a")), stories.watched(record("b")):
            await storage.calls(3)
    assert {(each.story_id, each.lease_token) for each in storage.asked[-1]} == {("a", 0), ("b", 0), ("r", 7)}


async def test_newly_followed_story_is_requested_at_once() -> None:
    """It alone, and not only when the interval is over."""
    storage, runs = Storage(), Runs()
    async with following(storage, runs, interval=3600) as stories:
        with stories.watched(record("a")):
            await storage.calls(1)
            with stories.watched(record("b")):
                await storage.calls(2)
    assert [[each.story_id for each in batch] for batch in storage.asked] == [["a"], ["b"]]


async def test_more_than_a_thousand_stories_take_several_calls() -> None:
    """Each story in one of them."""
    storage, runs = Storage(), Runs()
    runs.tokens = {f"{number}": 1 for number in range(MAX_POSITIONS + 1)}
    async with following(storage, runs, interval=0.05) as stories:
        stories.wanted.set()
        await storage.calls(2)
    assert [len(batch) for batch in storage.asked[:2]] == [MAX_POSITIONS, 1]


async def test_truncated_response_is_continued_at_once() -> None:
    """Without waiting for the interval."""
    storage = Storage()
    storage.truncated = 3
    async with following(storage, Runs(), interval=3600) as stories:
        with stories.watched(record("a")):
            await storage.calls(4)


async def test_follower_makes_no_calls_without_stories_and_runs() -> None:
    """However short the interval."""
    storage = Storage()
    async with following(storage, Runs(), interval=0.001) as stories:
        await asyncio.sleep(0.02)
        assert storage.asked == []
        with stories.watched(record("a")):
            await storage.calls(1)
        count = len(storage.asked)
        await asyncio.sleep(0.02)
        assert len(storage.asked) <= count + 1


async def test_run_is_stopped_when_its_story_ended_elsewhere() -> None:
    """By the lease token of its position."""
    storage, runs = Storage(), Runs()
    runs.tokens = {"r": 7}
    storage.changes["r"] = Change(story_id="r", state=common_pb2.STORY_STATE_CANCELLED)
    async with following(storage, runs) as stories:
        stories.wanted.set()
        async with asyncio.timeout(10):
            await runs.told.wait()
    assert runs.ended == [("r", 7)]


async def test_orphaned_story_is_adopted_if_a_run_can_start() -> None:
    """If none can start, orphaned stories are not requested."""
    storage, runs = Storage(), Runs()
    storage.changes["s"] = Change(story_id="s", state=WRITING)
    async with following(storage, runs) as stories:
        with stories.watched(record("s")):
            await storage.calls(2)
            runs.room = 0
            await storage.calls(len(storage.asked) + 2)
    assert runs.adopted == ["s"]
    assert storage.asked[0][0].state == common_pb2.STORY_STATE_UNSPECIFIED
    assert storage.asked[-1][0].state == WRITING


async def test_follower_repeats_its_call_when_storage_is_away() -> None:
    """And a defect in one round does not end the following."""
    storage = Storage()
    unavailable = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
    storage.failures = [unavailable, unavailable, ValueError("defect")]
    async with following(storage, Runs()) as stories:
        with stories.watched(record("s")) as live:
            await storage.calls(4)
            assert live.end is None


async def test_number_of_followed_stories_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher beyond it gets RATE_LIMITED."""
    monkeypatch.setattr(followed_module, "MAX_STORIES", 1)
    stories = FollowedStories()
    with stories.watched(record("a")), stories.watched(record("a")):
        beyond = stories.watched(record("b"))
        with pytest.raises(DomainError, match="RATE_LIMITED"):
            beyond.__enter__()


async def test_draining_gateway_ends_the_streams_of_watchers() -> None:
    """They reconnect elsewhere."""
    stories = FollowedStories()
    with stories.watched(record("a")) as live:
        stories.hand_over()
        assert live.end is End.HANDED_OVER
