"""Follows one story for one watcher, whether it has a run here, a run elsewhere, or has ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Generic

from gateway.peers.clients import StorageStub, read_story
from gateway.peers.retry import PEER_ERRORS, classify
from gateway.runs.active import Runs
from gateway.runs.claimer import Claimer
from gateway.runs.followed_stories import ENDED, FollowedStories
from gateway.runs.live_story import End, LiveStory
from gateway.watch.audio import MAX_PIECE, AudioBuffer, Piece
from gateway.watch.cursor import Cursor, R
from servicekit.errors import not_found, reconnect

HEARTBEAT_SECONDS: Final = 5.0
"""Seconds between state events. A client can take a stream that is silent for longer for dead."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where watchers find stories: the runs of this gateway, the followed stories, and storage."""

    runs: Runs
    claimer: Claimer
    followed: FollowedStories
    storage: StorageStub
    buffer: AudioBuffer
    heartbeat_seconds: float = HEARTBEAT_SECONDS


class Watching(Generic[R]):
    """The stream of one watcher."""

    def __init__(self, cursor: Cursor[R], sources: Sources, *, owner: str, include_audio: bool) -> None:
        self._cursor: Cursor[R] = cursor
        self._owner = owner
        self._include_audio = include_audio
        self._sources = sources
        self._last_beat = 0.0
        self._sequel: LiveStory | None = None
        self._gone = ""
        """Narration that storage did not have any more when it was read."""

    async def responses(self) -> AsyncIterator[R]:
        """Yields all events of the story in order, up to `done`."""
        while True:
            self._sources.runs.refuse_if_draining()
            async with self._found() as live:
                async for response in self._shown(live):
                    yield response
                if live.end is End.HANDED_OVER:
                    raise reconnect()
                if live.done is not None and self._has_all(live):
                    yield self._cursor.done(live.done)
                    return
                self._sequel = live.sequel

    @asynccontextmanager
    async def _found(self) -> AsyncIterator[LiveStory]:
        """Yields the story from where it is now: a run of this gateway, the record of an ended story, or followed."""
        story_id = self._cursor.story_id
        if (live := self._running()) is not None:
            with live.watched():
                yield live
            return
        if self._sequel is not None:
            yield self._sequel
            return
        record = await read_story(self._sources.storage, story_id)
        if record.story.state in ENDED:
            # Only the full view has the segments.
            record = await read_story(self._sources.storage, story_id, full=True)
        elif not record.run.HasField("lease_expire_time"):
            await self._sources.claimer.adopt([story_id])
        if record.story.state in ENDED:
            if self._gone and record.story.audio.audio_id == self._gone:
                message = "The audio of this story cannot be read. Call NarrateStory to make it again."
                raise not_found("AUDIO_NOT_FOUND", message)
            yield LiveStory.ended(record)
        elif (live := self._running()) is not None:
            with live.watched():
                yield live
        else:
            with self._sources.followed.watched(record) as live:
                yield live

    def _running(self) -> LiveStory | None:
        live = self._sources.runs.live(self._cursor.story_id, owner=self._owner)
        return live if live is not None and live.end is None else None

    def _has_all(self, live: LiveStory) -> bool:
        """Whether all events can be shown without reading the record again.

        After a narration that failed, the stored one must be announced.
        """
        if live.done is None or not live.done.HasField("audio"):
            return True
        return live.audio_complete and live.done.audio.audio_id != self._gone

    async def _shown(self, live: LiveStory) -> AsyncIterator[R]:
        """Yields responses until `live` has ended and, if it is done, all of its audio is shown."""
        cursor = self._cursor
        while True:
            change, ending = live.change(), live.end
            for response in cursor.released(live, beat=self._beat()):
                yield response
            if live.audio_complete and live.header is not None and live.header.audio_id == cursor.audio_id:
                cursor.check_audio(live.audio_size)
            piece = self._next_piece(live) if self._include_audio and ending in {None, End.DONE} else None
            if piece is not None:
                for response in cursor.audio(await self._fetched(piece, live, change)):
                    yield response
            elif ending is not None:
                return
            elif not change.is_set():
                await self._wait(change)

    def _next_piece(self, live: LiveStory) -> Piece | None:
        """Returns the piece of the announced narration with the next byte; None at the end of the manifest."""
        offset = self._cursor.audio_offset
        span = live.audio_span(offset)
        # While a slow watcher received the last response, another narration may have started: it is announced first.
        if live.header is None or live.header.audio_id != self._cursor.audio_id or span is None:
            return None
        if live.header.audio_id == self._gone:
            return None
        start = span[0] + (offset - span[0]) // MAX_PIECE * MAX_PIECE
        return Piece(live.story_id, live.header.audio_id, start, min(span[1], start + MAX_PIECE))

    async def _fetched(self, piece: Piece, live: LiveStory, change: asyncio.Event) -> bytes:
        """Returns the rest of `piece` after the position; nothing if there is something to show before it is read."""
        task = self._sources.buffer.fetch(piece)
        if not task.done():
            changed = asyncio.create_task(change.wait())
            await asyncio.wait([task, changed], timeout=self._until_beat(), return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            if not task.done():
                return b""
        try:
            data = task.result()
        except PEER_ERRORS as error:
            failure = classify(error).error
            if failure.reason not in {"AUDIO_NOT_FOUND", "SEGMENT_LOST"}:
                raise failure from error
            # Another narration has begun, is finished, or will begin; the story shows it soon.
            self._gone = piece.audio_id
            return b""
        if live.header is None or live.header.audio_id != piece.audio_id:
            return b""
        return data[self._cursor.audio_offset - piece.start :]

    def _beat(self) -> bool:
        """Returns whether a heartbeat is due, and counts it as sent."""
        if self._until_beat() > 0:
            return False
        self._last_beat = asyncio.get_running_loop().time()
        return True

    def _until_beat(self) -> float:
        return max(0.0, self._last_beat + self._sources.heartbeat_seconds - asyncio.get_running_loop().time())

    async def _wait(self, change: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._until_beat()):
                await change.wait()
        except TimeoutError:
            return
