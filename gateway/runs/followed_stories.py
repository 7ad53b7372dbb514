"""The stories that this gateway shows and does not make: one live story for all who watch the same."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from gateway.runs.live_story import End, LiveStory
from servicekit.errors import DomainError
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

MAX_STORIES: Final = 4_000
"""Stories that one gateway follows at a time."""

ENDED: Final = frozenset(
    {
        common_pb2.STORY_STATE_READY,
        common_pb2.STORY_STATE_READY_WITHOUT_AUDIO,
        common_pb2.STORY_STATE_FAILED,
        common_pb2.STORY_STATE_CANCELLED,
    }
)
"""States in which no run makes a story."""


class FollowedStories:
    """The followed stories by id; one leaves with its last watcher, or when its live story ends."""

    def __init__(self) -> None:
        self._stories: dict[str, LiveStory] = {}
        self._fresh: set[str] = set()
        self.wanted = asyncio.Event()
        """Set when there is something new to ask for: a story that is followed from now on, or the first run."""

    def __len__(self) -> int:
        return len(self._stories)

    @contextmanager
    def watched(self, record: storage_pb2.StoryRecord) -> Iterator[LiveStory]:
        """The live story of `record`, followed for as long as the block lasts.

        RESOURCE_EXHAUSTED / RATE_LIMITED where MAX_STORIES are followed.
        """
        story_id = record.story.id
        live = self._stories.get(story_id)
        if live is None:
            if len(self._stories) >= MAX_STORIES:
                raise DomainError(
                    "RATE_LIMITED",
                    f"This gateway follows {MAX_STORIES} stories of other gateways already. Watch again later.",
                    retry_after=5.0,
                )
            live = self._stories[story_id] = LiveStory(record.story, owner=record.owner)
            self._fresh.add(story_id)
            self.wanted.set()
        try:
            with live.watched():
                yield live
        finally:
            if not live.watchers:
                self._drop(live)

    def release(self, story_id: str, sequel: LiveStory | None = None) -> None:
        """The story is made by this gateway from now on, or has ended: its watchers look again where it is.

        `sequel` is the story as it ended; then they need not look.
        """
        live = self._stories.get(story_id)
        if live is not None:
            live.sequel = sequel
            live.finish(End.LEFT)
            self._drop(live)

    def hand_over(self) -> None:
        """This gateway is going down: all watchers are to reconnect."""
        for live in list(self._stories.values()):
            live.finish(End.HANDED_OVER)
            self._drop(live)

    def positions(self, *, fresh: bool, orphans: bool) -> Sequence[storage_pb2.StoryPosition]:
        """What is known of each story, or only of those that storage was never asked about.

        With `orphans` storage says of each whether a run holds it, though nothing else be new.
        """
        lives = [self._stories[each] for each in self._fresh] if fresh else self._stories.values()
        positions = [_position(live, state_known=not orphans) for live in lives]
        self._fresh.clear()
        self.wanted.clear()
        return positions

    def apply(self, change: storage_pb2.StoryChange) -> LiveStory | None:
        """Writes what is new into the live story; None where the story is deleted, or not followed any more."""
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
        if change.narration.audio_id and (live.header is None or live.header.audio_id != change.narration.audio_id):
            live.begin_audio(change.narration)
        if segments := change.segments[len(live.segments) - change.segments[0].index :] if change.segments else ():
            live.add_segments(segments)
        for problem in change.problems:
            live.warn(problem)
        if change.content_complete:
            live.complete_text()
        if change.state:
            live.set_state(change.state)
        return live

    def _drop(self, live: LiveStory) -> None:
        if self._stories.get(live.story_id) is live:
            del self._stories[live.story_id]
            self._fresh.discard(live.story_id)


def _position(live: LiveStory, *, state_known: bool) -> storage_pb2.StoryPosition:
    return storage_pb2.StoryPosition(
        story_id=live.story_id,
        state=live.state if state_known else common_pb2.STORY_STATE_UNSPECIFIED,
        text_length=len(live.text),
        audio_id=live.header.audio_id if live.header is not None else "",
        segment_count=len(live.segments),
        problem_count=len(live.warnings),
    )
