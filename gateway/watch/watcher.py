"""Follows one story for one watcher: made here, made by another gateway, or ended; all three by one path."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic

from gateway.peers.clients import StorageStub, read_story
from gateway.peers.retry import PEER_ERRORS, classify
from gateway.runs.active import Runs
from gateway.runs.claimer import Claimer
from gateway.runs.followed_stories import ENDED, FollowedStories
from gateway.runs.live_story import End, LiveStory
from gateway.watch.audio_buffer import MAX_PIECE, AudioBuffer, Piece
from gateway.watch.cursor import Cursor, R
from servicekit.errors import not_found, reconnect


@dataclass(frozen=True, slots=True)
class Sources:
    """Where watchers see stories: those made here, those followed, and storage."""

    runs: Runs
    claimer: Claimer
    followed: FollowedStories
    storage: StorageStub
    buffer: AudioBuffer
    heartbeat_seconds: float


class Watching(Generic[R]):
    """One watcher. `responses` is the stream; it ends with `done`, or raises."""

    def __init__(self, cursor: Cursor[R], sources: Sources, *, owner: str, include_audio: bool) -> None:
        self._cursor: Cursor[R] = cursor
        self._owner = owner
        self._include_audio = include_audio
        self._sources = sources
        self._beaten = 0.0
        self._sequel: LiveStory | None = None
        self._gone = ""
        """Narration that storage no longer had when it was to be read."""

    async def responses(self) -> AsyncIterator[R]:
        """What happened and happens to the story, in order."""
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
        """The story where it is now: in a run of this gateway, in storage as it ended, or followed."""
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
                message = "The audio of this story cannot be read. NarrateStory makes it again."
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
        """True when nothing has to be read from storage to show the rest.

        A narration that failed may have been announced last; then the stored one must be.
        """
        if live.done is None or not live.done.HasField("audio"):
            return True
        return live.audio_complete and live.done.audio.audio_id != self._gone

    async def _shown(self, live: LiveStory) -> AsyncIterator[R]:
        """Responses until nothing more comes of `live` and, where it is done, all of its audio is shown."""
        cursor = self._cursor
        while True:
            change, ending = live.change(), live.end
            for response in cursor.released(live, beat=self._beat()):
                yield response
            if live.audio_complete and live.header is not None and live.header.audio_id == cursor.audio_id:
                cursor.check_audio(live.audio_size)
            piece = self._next_piece(live) if self._include_audio and ending in {None, End.DONE} else None
            if piece is not None:
                for response in cursor.audio(await self._fetched(piece, live)):
                    yield response
            elif ending is not None:
                return
            elif not change.is_set():
                await self._wait(change)

    def _next_piece(self, live: LiveStory) -> Piece | None:
        """The piece of the announced narration that holds the next byte; None where the manifest ends before it."""
        offset = self._cursor.audio_offset
        span = live.audio_span(offset)
        # While a slow watcher took the last response, another narration may have begun: it is announced first.
        if live.header is None or live.header.audio_id != self._cursor.audio_id or span is None:
            return None
        if live.header.audio_id == self._gone:
            return None
        start = span[0] + (offset - span[0]) // MAX_PIECE * MAX_PIECE
        return Piece(live.story_id, live.header.audio_id, start, min(span[1], start + MAX_PIECE))

    async def _fetched(self, piece: Piece, live: LiveStory) -> bytes:
        """What follows the watcher's last byte in `piece`; nothing when a heartbeat is due before it is there."""
        task = self._sources.buffer.fetch(piece)
        if not task.done():
            await asyncio.wait([task], timeout=self._until_beat())
            if not task.done():
                return b""
        try:
            data = task.result()
        except PEER_ERRORS as error:
            failure = classify(error).error
            if failure.reason not in {"AUDIO_NOT_FOUND", "SEGMENT_LOST"}:
                raise failure from error
            # Another narration has begun, was finished, or has to be begun; the story says so soon.
            self._gone = piece.audio_id
            return b""
        if live.header is None or live.header.audio_id != piece.audio_id:
            return b""
        return data[self._cursor.audio_offset - piece.start :]

    def _beat(self) -> bool:
        """True when a heartbeat is due; the next one then is due later."""
        if self._until_beat() > 0:
            return False
        self._beaten = asyncio.get_running_loop().time()
        return True

    def _until_beat(self) -> float:
        return max(0.0, self._beaten + self._sources.heartbeat_seconds - asyncio.get_running_loop().time())

    async def _wait(self, change: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._until_beat()):
                await change.wait()
        except TimeoutError:
            return
