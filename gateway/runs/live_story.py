"""Holds what is released of a story: a run or the follower writes it, any number of watchers read it."""

import asyncio
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

from gateway.runs.waits import Waits
from servicekit.reasons import WAITS
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

WORDS_A_MINUTE: Final = 150


class End(Enum):
    """Why a live story gets no more content."""

    DONE = "done"
    """The story has ended; `LiveStory.done` is the story as stored."""
    HANDED_OVER = "handed over"
    """This gateway is shutting down; another one, or the next process, continues."""
    LEFT = "left"
    """It has another run, or was stopped or deleted; the record says which."""


class LiveStory:
    """A story as released so far. Its text and segments are stored and never change."""

    def __init__(self, story: common_pb2.Story, *, owner: str = "") -> None:
        self.story_id = story.id
        self.owner = owner
        self.state = story.state
        self.title = story.title
        self.outline = story.outline if story.HasField("outline") else None
        self.text = story.content
        self.words = len(story.content.split())
        self.text_complete = story.content_complete
        self.expected_words = story.length_minutes * WORDS_A_MINUTE
        self.header: common_pb2.NarrationHeader | None = None
        self.segments: list[common_pb2.Segment] = []
        self._ends: list[int] = []
        self.warnings: list[common_pb2.Problem] = []
        self.done: common_pb2.Story | None = None
        self.end: End | None = None
        self.sequel: LiveStory | None = None
        """The story as it ended, if it was left and that is known."""
        self.watchers = 0
        self.waits = Waits(self._notify)
        self._changed = asyncio.Event()

    @classmethod
    def ended(cls, record: storage_pb2.StoryRecord) -> "LiveStory":
        """Returns a story that has ended, from its record in FULL view."""
        live = cls(record.story, owner=record.owner)
        if record.story.HasField("audio"):
            live.begin_audio(_header_of(record))
            live.add_segments(record.story.audio.segments)
            if live.audio_size < record.story.audio.size_bytes:
                live._ends.append(record.story.audio.size_bytes)
        live.finish(End.DONE, basic(record.story))
        return live

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Counts a watcher for as long as the block lasts."""
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1

    def change(self) -> asyncio.Event:
        """Returns an event that the next change sets. Call it before reading, so that no change is missed."""
        return self._changed

    def set_state(self, state: common_pb2.StoryState.ValueType) -> None:
        """Sets the state."""
        if state != self.state:
            self.state = state
            self._notify()

    def add_text(self, *, title: str, text: str) -> None:
        """Adds text that is stored, and the title once it is."""
        self.title = title or self.title
        self.text += text
        self.words += len(text.split())
        self._notify()

    def complete_text(self) -> None:
        """Notes that the text is complete."""
        if not self.text_complete:
            self.text_complete = True
            self._notify()

    def begin_audio(self, header: common_pb2.NarrationHeader) -> None:
        """Begins a narration, at byte 0."""
        self.header = header
        self.segments = []
        self._ends = []
        self._notify()

    def add_segments(self, segments: Iterable[common_pb2.Segment]) -> None:
        """Adds segments that are in the manifest, so that storage returns their bytes."""
        for segment in segments:
            self.segments.append(segment)
            self._ends.append(segment.audio.end)
        self._notify()

    def warn(self, problem: common_pb2.Problem) -> None:
        """Adds a problem for watchers."""
        self.warnings.append(problem)
        self._notify()

    def stands(self, problem: common_pb2.Problem) -> bool:
        """Returns False for a wait that is over: the story has come further since."""
        if problem.reason not in WAITS:
            return True
        audio_id = problem.metadata.get("audio_id", "")
        if not audio_id:
            return not self.text_complete and problem.metadata.get("text_length") == str(len(self.text))
        known = self.header is not None and self.header.audio_id == audio_id
        return problem.metadata.get("segment_count") == str(len(self.segments) if known else 0)

    def finish(self, end: End, done: common_pb2.Story | None = None) -> None:
        """Ends the live story. Only the first end counts."""
        if self.end is None:
            self.end = end
            self.done = done
            self._notify()

    @property
    def audio_size(self) -> int:
        """Bytes of audio in the manifest."""
        return self._ends[-1] if self._ends else 0

    @property
    def unspoken(self) -> int:
        """Code points of the text that are not in the manifest."""
        return len(self.text) - (self.segments[-1].text.end if self.segments else 0)

    @property
    def audio_complete(self) -> bool:
        """Whether the narration shown is the finished audio of the story."""
        return self.done is not None and self.header is not None and self.header.audio_id == self.done.audio.audio_id

    def audio_span(self, offset: int) -> tuple[int, int] | None:
        """Returns first byte and end of the segment that contains the byte at `offset`; None beyond the manifest."""
        index = bisect_right(self._ends, offset)
        if index == len(self._ends):
            return None
        return (self._ends[index - 1] if index else 0), self._ends[index]

    def fill_progress(self, progress: common_pb2.StoryProgress) -> None:
        """Sets the fields of `progress`."""
        progress.words_written = self.words
        progress.words_expected = self.expected_words
        progress.characters_written = len(self.text)
        progress.audio_bytes = self.audio_size
        if (waiting := self.waits.shown) is not None:
            progress.waiting.CopyFrom(waiting)
        if self.segments:
            last = self.segments[-1]
            progress.characters_narrated = last.text.end
            progress.audio_duration.FromNanoseconds(last.start.ToNanoseconds() + last.duration.ToNanoseconds())

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def basic(story: common_pb2.Story) -> common_pb2.Story:
    """Returns a copy without the fields marked "FULL view only"."""
    shown = common_pb2.Story()
    shown.CopyFrom(story)
    del shown.full_response[:]
    shown.ClearField("generation_info")
    del shown.attempts[:]
    del shown.audio.segments[:]
    if not story.HasField("audio"):
        shown.ClearField("audio")
    return shown


def _header_of(record: storage_pb2.StoryRecord) -> common_pb2.NarrationHeader:
    """Returns the header of a story's stored audio."""
    audio, header = record.story.audio, record.run.narration
    if header.audio_id == audio.audio_id:
        return header
    return common_pb2.NarrationHeader(
        audio_id=audio.audio_id,
        provider=audio.provider,
        voice_id=audio.voice_id,
        model_id=audio.model_id,
        audio_format=audio.audio_format,
        content_type=audio.content_type,
        language_code=record.story.language_code,
    )
