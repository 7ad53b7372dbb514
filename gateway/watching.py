"""Follows one story for one watcher: live while it is made here, else as kept."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Final

from gateway.board import WORDS_A_MINUTE, Board, End
from gateway.cursor import Cursor
from gateway.presenting import basic, header_of
from gateway.runs import Runs
from gateway.storage_client import StorageClient
from servicekit.errors import reconnect
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.storage.v1 import storage_pb2

POLL_SECONDS: Final = 0.5
"""How often a story that is made elsewhere, or by nobody yet, is looked at."""
FULL_POLL_SECONDS: Final = 5.0
"""The same while this gateway has its hands full and many wait: a glance at storage for each would cost the others."""

ENDED: Final = frozenset(
    {
        common_pb2.STORY_STATE_READY,
        common_pb2.STORY_STATE_READY_WITHOUT_AUDIO,
        common_pb2.STORY_STATE_FAILED,
        common_pb2.STORY_STATE_CANCELLED,
    }
)


class Watching:
    """One watcher. `events` is the stream; it ends with `done`, or raises."""

    def __init__(
        self,
        cursor: Cursor,
        *,
        owner: str,
        include_audio: bool,
        runs: Runs,
        storage: StorageClient,
        heartbeat_seconds: float,
    ) -> None:
        self._cursor = cursor
        self._owner = owner
        self._include_audio = include_audio
        self._runs = runs
        self._storage = storage
        self._heartbeat_seconds = heartbeat_seconds
        self._beaten = 0.0

    async def events(self) -> AsyncIterator[gateway_pb2.StoryEvent]:
        """What happened and happens to the story, in order."""
        while True:
            self._runs.refuse_if_draining()
            board = self._runs.board(self._cursor.story_id, owner=self._owner)
            if board is not None and board.end is None:
                async for event in self._live(board):
                    yield event
                if board.end is End.HANDED_OVER:
                    raise reconnect()
                if board.done is not None and self._seen_all(board.done):
                    yield self._cursor.done(board.done)
                    return
            record = await self._storage.get_story(self._cursor.story_id, view=common_pb2.STORY_VIEW_FULL)
            ended = record.story.state in ENDED
            async for event in self._kept(record, ended=ended):
                yield event
            if ended:
                yield self._cursor.done(basic(record.story))
                return
            await self._runs.adopt(self._cursor.story_id)
            await self._until_here(FULL_POLL_SECONDS if self._runs.full else POLL_SECONDS)

    async def _until_here(self, seconds: float) -> None:
        """Waits for at most `seconds`, and no longer than until the story is made here."""
        end = asyncio.get_running_loop().time() + seconds
        while self._runs.board(self._cursor.story_id, owner=self._owner) is None:
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self._runs.refuse_if_draining()
            await asyncio.sleep(min(left, POLL_SECONDS))

    async def _live(self, board: Board) -> AsyncIterator[gateway_pb2.StoryEvent]:
        """Events of a story that is made here, until its run ends."""
        while True:
            change = board.change()
            ending = board.end is not None
            for event in self._released(board):
                yield event
            more = await self._spooled(board) if self._include_audio else b""
            for event in self._cursor.audio(more):
                yield event
            if ending:
                return
            if not more and not change.is_set():
                await self._wait(change)

    def _seen_all(self, story: common_pb2.Story) -> bool:
        """True when nothing has to be fetched from storage to show the rest."""
        if not story.HasField("audio"):
            return True
        # A narration that failed half-way may have been announced last; then the kept one must be.
        announced = self._cursor.audio_id == story.audio.audio_id
        return announced and (not self._include_audio or self._cursor.audio_offset == story.audio.size_bytes)

    def _released(self, board: Board) -> Iterator[gateway_pb2.StoryEvent]:
        cursor = self._cursor
        yield from cursor.state(board.state, board.progress(), beat=self._beat())
        yield from cursor.warnings(board.warnings)
        yield from cursor.title(board.title)
        yield from cursor.text(board.text, final=board.text_complete)
        if board.header is not None:
            yield from cursor.narration(board.header, board.segments)

    async def _spooled(self, board: Board) -> bytes:
        """Audio that the watcher has not heard, as far as it is released."""
        if board.header is None or board.header.audio_id != self._cursor.audio_id:
            return b""
        data = await board.read_audio(self._cursor.audio_offset)
        # Another narration may have begun meanwhile; these bytes then are of no use to anybody.
        return data if data and board.header.audio_id == self._cursor.audio_id else b""

    async def _kept(self, record: storage_pb2.StoryRecord, *, ended: bool) -> AsyncIterator[gateway_pb2.StoryEvent]:
        """Events of a story as it is kept. Audio only once it is whole."""
        cursor, story = self._cursor, record.story
        progress = _progress(story)
        for event in cursor.state(story.state, progress, beat=self._beat()):
            yield event
        for event in cursor.title(story.title):
            yield event
        for event in cursor.text(story.content, final=ended):
            yield event
        if not ended or not story.HasField("audio"):
            return
        for event in cursor.narration(header_of(record), story.audio.segments):
            yield event
        if self._include_audio:
            cursor.check_audio(story.audio)
            async for event in self._kept_audio(story):
                yield event

    async def _kept_audio(self, story: common_pb2.Story) -> AsyncIterator[gateway_pb2.StoryEvent]:
        cursor = self._cursor
        if cursor.audio_offset >= story.audio.size_bytes:
            return
        request = storage_pb2.ReadAudioRequest(
            story_id=story.id, audio_id=story.audio.audio_id, offset=cursor.audio_offset
        )
        async with aclosing(self._storage.read_audio(request, timeout=None)) as responses:
            async for response in responses:
                if response.WhichOneof("piece") == "chunk":
                    for event in cursor.audio(response.chunk.data):
                        yield event

    def _beat(self) -> bool:
        """True when a heartbeat is due; the next one then is due later."""
        moment = asyncio.get_running_loop().time()
        if moment - self._beaten < self._heartbeat_seconds:
            return False
        self._beaten = moment
        return True

    async def _wait(self, change: asyncio.Event) -> None:
        due = self._beaten + self._heartbeat_seconds - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(0.0, due)):
                await change.wait()
        except TimeoutError:
            return


def _progress(story: common_pb2.Story) -> common_pb2.StoryProgress:
    progress = common_pb2.StoryProgress(
        words_written=len(story.content.split()),
        words_expected=story.length_minutes * WORDS_A_MINUTE,
        characters_written=len(story.content),
    )
    if story.HasField("audio"):
        progress.characters_narrated = len(story.content)
        progress.audio_bytes = story.audio.size_bytes
        progress.audio_duration.CopyFrom(story.audio.duration)
    return progress
