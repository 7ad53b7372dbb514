"""Holds the watched stories that have no run in this gateway: one live story for all watchers of a story."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from gateway.runs.live_story import End, LiveStory
from gateway.runs.waits import NARRATION, PLACE, STORAGE, TEXT, waiting_of
from servicekit.errors import DomainError
from servicekit.reasons import WAITS
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

MAX_STORIES: Final = 4_000
"""Maximum number of stories that one gateway follows at a time."""

ENDED: Final = frozenset(
    {
        common_pb2.STORY_STATE_READY,
        common_pb2.STORY_STATE_READY_WITHOUT_AUDIO,
        common_pb2.STORY_STATE_FAILED,
        common_pb2.STORY_STATE_CANCELLED,
    }
)
"""Final states: the story has no run."""


class FollowedStories:
    """The followed stories by id; each stays until its last watcher leaves or its live story ends."""

    def __init__(self) -> None:
        self._stories: dict[str, LiveStory] = {}
        self._fresh: set[str] = set()
        self._storage_away = False
        self.wanted = asyncio.Event()
        """Set when there is something new to follow: another story, or the first run."""

    def __len__(self) -> int:
        return len(self._stories)

    @property
    def watchers(self) -> int:
        """Number of streams that follow one of them."""
        return sum(live.watchers for live in self._stories.values())

    @contextmanager
    def watched(self, record: storage_pb2.StoryRecord) -> Iterator[LiveStory]:
        """Yields the live story of `record`, which is followed for as long as the block lasts.

        Raises RATE_LIMITED if MAX_STORIES are followed.
        """
        story_id = record.story.id
        live = self._stories.get(story_id)
        if live is None:
            if len(self._stories) >= MAX_STORIES:
                raise DomainError(
                    "RATE_LIMITED",
                    f"This gateway already follows {MAX_STORIES} stories of other gateways.",
                    retry_after=5.0,
                )
            live = self._stories[story_id] = LiveStory(record.story, owner=record.owner)
            if record.story.state == common_pb2.STORY_STATE_PENDING and not record.run.HasField("lease_expire_time"):
                waiting = common_pb2.Waiting(since=record.story.update_time)
                waiting.MergeFrom(PLACE)
                live.waits.begin(PLACE.name, waiting)
            self._fresh.add(story_id)
            self.wanted.set()
        try:
            with live.watched():
                yield live
        finally:
            if not live.watchers:
                self._drop(live)

    def release(self, story_id: str, sequel: LiveStory | None = None) -> None:
        """Stops following a story that has a run here now, or has ended: its watchers find it again.

        `sequel` is the story as it ended, if it is known.
        """
        live = self._stories.get(story_id)
        if live is not None:
            live.sequel = sequel
            live.finish(End.LEFT)
            self._drop(live)

    def hand_over(self) -> None:
        """Ends the streams of all watchers with RECONNECT."""
        for live in list(self._stories.values()):
            live.finish(End.HANDED_OVER)
            self._drop(live)

    def positions(self, *, fresh: bool, orphans: bool) -> Sequence[storage_pb2.StoryPosition]:
        """Returns what is known of each story, or only of stories that are followed since the last call.

        With `orphans` storage reports for each that has begun whether a run holds it, even if nothing else has changed.
        One that has not begun waits for a place, in the order of creation.
        """
        lives = [self._stories[each] for each in self._fresh] if fresh else self._stories.values()
        pending = common_pb2.STORY_STATE_PENDING
        positions = [_position(live, state_known=not orphans or live.state == pending) for live in lives]
        self._fresh.clear()
        self.wanted.clear()
        return positions

    def apply(self, change: storage_pb2.StoryChange) -> LiveStory | None:
        """Writes what is new into the live story; returns None if it is deleted or no longer followed."""
        if change.deleted:
            self.release(change.story_id)
        live = self._stories.get(change.story_id)
        if live is None:
            return None
        title = "" if live.title else change.title
        known = len(live.text) - change.text.offset
        text = change.text.text[known:] if known >= 0 else ""
        if title or text:
            live.add_text(title=title, text=text)
            live.waits.progressed(TEXT)
        if change.narration.audio_id and (live.header is None or live.header.audio_id != change.narration.audio_id):
            live.begin_audio(change.narration)
        if segments := change.segments[len(live.segments) - change.segments[0].index :] if change.segments else ():
            live.add_segments(segments)
            live.waits.progressed(NARRATION)
        if change.content_complete:
            live.complete_text()
            live.waits.progressed(TEXT)
        for problem in change.problems:
            _warn(live, problem)
        if change.state:
            live.set_state(change.state)
            if change.state != common_pb2.STORY_STATE_PENDING:
                live.waits.progressed(PLACE.name)
        return live

    def wait_for_storage(self) -> None:
        """Notes that storage does not say what is new."""
        self._storage_away = True
        for live in self._stories.values():
            live.waits.begin(STORAGE.name, STORAGE)

    def storage_responded(self) -> None:
        """Notes that it does."""
        for live in self._stories.values() if self._storage_away else ():
            live.waits.progressed(STORAGE.name)
        self._storage_away = False

    def _drop(self, live: LiveStory) -> None:
        if self._stories.get(live.story_id) is live:
            del self._stories[live.story_id]
            self._fresh.discard(live.story_id)


def _warn(live: LiveStory, problem: common_pb2.Problem) -> None:
    live.warn(problem)
    if problem.reason in WAITS and live.stands(problem):
        live.waits.begin(NARRATION if "audio_id" in problem.metadata else TEXT, waiting_of(problem))


def _position(live: LiveStory, *, state_known: bool) -> storage_pb2.StoryPosition:
    return storage_pb2.StoryPosition(
        story_id=live.story_id,
        state=live.state if state_known else common_pb2.STORY_STATE_UNSPECIFIED,
        text_length=len(live.text),
        audio_id=live.header.audio_id if live.header is not None else "",
        segment_count=len(live.segments),
        problem_count=len(live.warnings),
    )
