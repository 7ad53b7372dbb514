"""Audio that listeners of this gateway have in common: each piece is read from storage once for all of them."""

import asyncio
from collections import OrderedDict, deque
from contextlib import aclosing
from typing import Final, NamedTuple

from gateway.peers.stream import broken
from gateway.watch.audio_reader import AudioReader
from tale.storage.v1 import storage_pb2

MAX_BYTES: Final = 32 * 1024 * 1024
"""Bytes held in memory, those that are being read included."""
MAX_PIECE: Final = 1024 * 1024
"""Bytes of one piece at most."""


class Piece(NamedTuple):
    """Some bytes of a narration that are in its manifest. At most MAX_PIECE."""

    story_id: str
    audio_id: str
    start: int
    end: int


class AudioBuffer:
    """The pieces that were read last, within a bound; the least recently used one makes room."""

    def __init__(self, reader: AudioReader, *, max_bytes: int = MAX_BYTES) -> None:
        self._reader = reader
        self._free = max_bytes
        self._pieces: OrderedDict[Piece, asyncio.Task[bytes]] = OrderedDict()
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    def fetch(self, piece: Piece) -> "asyncio.Task[bytes]":
        """The bytes of `piece`, shared: do not cancel it. AUDIO_NOT_FOUND where the narration is gone."""
        task = self._pieces.get(piece)
        if task is None:
            task = self._pieces[piece] = asyncio.create_task(self._read(piece))
            task.add_done_callback(lambda done: self._ended(piece, done))
        else:
            self._pieces.move_to_end(piece)
        return task

    async def close(self) -> None:
        """Ends the reads under way."""
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
            raise broken("The storage service returned another number of bytes than the manifest has.")
        return data

    def _take_room(self, size: int) -> bool:
        """Takes `size` bytes, dropping what was used longest ago; False while too much is being read."""
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
