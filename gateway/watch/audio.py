"""Reads audio from storage for listeners, each piece once for all of them."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, NamedTuple

from gateway.peers.clients import CALL_SECONDS, StorageStub, broken, read_alive
from gateway.peers.retry import PEER_ERRORS, AttemptRetry, classify
from tale.storage.v1 import storage_pb2

WAIT_SECONDS: Final = 60.0
"""Seconds for which a reader waits for a storage service that cannot be reached."""


class AudioReader:
    """Reads audio, finished or in progress. A stream that breaks is resumed after the last byte received."""

    def __init__(self, storage: StorageStub) -> None:
        self._storage = storage

    async def read(
        self, request: storage_pb2.ReadAudioRequest, *, timeout: float | None = None
    ) -> AsyncGenerator[storage_pb2.ReadAudioResponse, None]:
        """Yields a header, then chunks without a gap or repetition, up to the size in the header.

        Raises the errors of ReadAudio, and UNAVAILABLE when storage stays away.
        """
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        retry = AttemptRetry(wait_seconds=WAIT_SECONDS)
        wanted, begun = storage_pb2.ReadAudioRequest(), False
        wanted.CopyFrom(request)
        while not (begun and wanted.limit <= 0):
            left = None if until is None else max(0.0, until - loop.time())
            call = self._storage.ReadAudio(wanted, timeout=left, wait_for_ready=True)
            try:
                async with aclosing(read_alive(call, idle_seconds=CALL_SECONDS)) as responses:
                    async for response in responses:
                        if response.HasField("chunk"):
                            size = len(response.chunk.data)
                            wanted.offset += size
                            wanted.limit -= size
                            yield response
                            retry.progressed()
                        elif not begun:
                            begun, header = True, response.header
                            # A narration grows, and may start over: this one is read, up to this size.
                            wanted.audio_id = header.audio_id
                            if not wanted.HasField("limit"):
                                wanted.limit = max(0, header.size_bytes - wanted.offset)
                            yield response
                return  # noqa: TRY300 - the end of the stream
            except PEER_ERRORS as error:
                await retry.after(classify(error))
            finally:
                call.cancel()


MAX_BYTES: Final = 32 * 1024 * 1024
"""Maximum number of bytes in memory, including those that are being read."""
MAX_PIECE: Final = 1024 * 1024
"""Maximum number of bytes of one piece."""


class Piece(NamedTuple):
    """At most MAX_PIECE bytes of a narration that are in its manifest."""

    story_id: str
    audio_id: str
    start: int
    end: int


class AudioBuffer:
    """The pieces read last, within a bound; the least recently used one is dropped first."""

    def __init__(self, reader: AudioReader, *, max_bytes: int = MAX_BYTES) -> None:
        self._reader = reader
        self._free = max_bytes
        self._pieces: OrderedDict[Piece, asyncio.Task[bytes]] = OrderedDict()
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    def fetch(self, piece: Piece) -> "asyncio.Task[bytes]":
        """Returns the shared task that reads `piece`; do not cancel it. It raises the errors of ReadAudio."""
        task = self._pieces.get(piece)
        if task is None:
            task = self._pieces[piece] = asyncio.create_task(self._read(piece))
            task.add_done_callback(lambda done: self._ended(piece, done))
        else:
            self._pieces.move_to_end(piece)
        return task

    async def close(self) -> None:
        """Cancels the reads in progress."""
        tasks = list(self._pieces.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, piece: Piece) -> bytes:
        size = piece.end - piece.start
        if self._queue or not self._take_room(size):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append((size, turn))
            await turn
        request = storage_pb2.ReadAudioRequest(
            story_id=piece.story_id, audio_id=piece.audio_id, offset=piece.start, limit=size
        )
        async with aclosing(self._reader.read(request)) as responses:
            parts = [each.chunk.data async for each in responses if each.HasField("chunk")]
        data = b"".join(parts)
        if len(data) != size:
            raise broken("The storage service returned a number of bytes that differs from the manifest.")
        return data

    def _take_room(self, size: int) -> bool:
        """Takes `size` bytes, dropping the least recently used pieces; returns False if too much is being read."""
        for piece in [piece for piece, task in self._pieces.items() if task.done()]:
            if self._free >= size:
                break
            del self._pieces[piece]
            self._free += piece.end - piece.start
        if self._free < size:
            return False
        self._free -= size
        return True

    def _ended(self, piece: Piece, task: "asyncio.Task[bytes]") -> None:
        if task.cancelled() or task.exception() is not None:
            del self._pieces[piece]
            self._free += piece.end - piece.start
        while self._queue and self._take_room(self._queue[0][0]):
            _, turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
