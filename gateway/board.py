"""What has been released of a story that is being made: the run writes it, any number of watchers read it."""

import asyncio
from enum import Enum
from typing import Final

from gateway.spool import Spool, SpoolClosedError
from tale.common.v1 import common_pb2

WORDS_A_MINUTE: Final = 150


class End(Enum):
    """How a run ended, for those who watch it."""

    DONE = "done"
    """The story has ended; `Board.done` is it, as kept."""
    HANDED_OVER = "handed over"
    """This gateway is going down; another, or the next, goes on."""
    LEFT = "left"
    """The run is no longer ours or was stopped; what is kept tells the rest."""


class Board:
    """A story as released so far. Text and segments on it are durable and never change."""

    def __init__(self, record_story: common_pb2.Story) -> None:
        self.story_id = record_story.id
        self.state = record_story.state
        self.title = record_story.title
        self.text = record_story.content
        self.words = len(record_story.content.split())
        self.text_complete = record_story.content_complete
        self.expected_words = record_story.length_minutes * WORDS_A_MINUTE
        self.header: common_pb2.NarrationHeader | None = None
        self.segments: list[common_pb2.Segment] = []
        self.warnings: list[common_pb2.Problem] = []
        self.spool: Spool | None = None
        self.done: common_pb2.Story | None = None
        self.end: End | None = None
        self._changed = asyncio.Event()

    def change(self) -> asyncio.Event:
        """An event that is set by the next change. Take it before looking, so that none is missed."""
        return self._changed

    def set_state(self, state: common_pb2.StoryState.ValueType) -> None:
        """The story stands at `state`."""
        self.state = state
        self._notify()

    def add_text(self, *, title: str, text: str) -> None:
        """More of the story is durable."""
        self.title = title or self.title
        self.text += text
        self.words += len(text.split())
        self._notify()

    def complete_text(self) -> None:
        """The text is whole."""
        self.text_complete = True
        self._notify()

    def begin_audio(self, header: common_pb2.NarrationHeader, spool: Spool) -> None:
        """A narration begins, at byte 0 of `spool`."""
        self.header = header
        self.spool = spool
        self.segments = []
        self._notify()

    def add_segment(self, segment: common_pb2.Segment) -> None:
        """A segment is durable and its bytes are in the spool."""
        self.segments.append(segment)
        self._notify()

    def warn(self, problem: common_pb2.Problem) -> None:
        """Something the watchers should know."""
        self.warnings.append(problem)
        self._notify()

    def finish(self, end: End, done: common_pb2.Story | None = None) -> None:
        """The run has ended."""
        if self.end is None:
            self.end = end
            self.done = done
            self._notify()

    @property
    def audio_size(self) -> int:
        """Bytes of audio that can be had."""
        return self.segments[-1].audio.end if self.segments else 0

    async def read_audio(self, offset: int) -> bytes | None:
        """Bytes from `offset`, at most those released; b"" where there are none yet, None where the run has let go."""
        if self.spool is None:
            return b""
        try:
            return await self.spool.read(offset, min(256 * 1024, self.audio_size - offset))
        except SpoolClosedError:
            return None

    def progress(self) -> common_pb2.StoryProgress:
        """How far the story is."""
        progress = common_pb2.StoryProgress(
            words_written=self.words,
            words_expected=self.expected_words,
            characters_written=len(self.text),
            audio_bytes=self.audio_size,
        )
        if self.segments:
            last = self.segments[-1]
            progress.characters_narrated = last.text.end
            progress.audio_duration.FromNanoseconds(last.start.ToNanoseconds() + last.duration.ToNanoseconds())
        return progress

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
