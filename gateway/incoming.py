"""Segments on their way from the voice service to what is durable.

One task puts them together, another keeps all that have come meanwhile in one checkpoint: so the voice service is
never held back by storage, and a storage that is slow gets fewer and larger checkpoints.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from gateway.spool import Spool, SpoolMismatchError
from gateway.stream import broken
from tale.common.v1 import common_pb2

MAX_WAITING: Final = 16
"""Segments that are in the spool and wait to become durable."""


class Incoming:
    """What one leg of a narration brings, in order: announced, filled, appended to the spool, taken to be kept.

    `released` are the segments that are durable already, `book` those of the narration as far as they are known.
    """

    def __init__(self, released: Sequence[common_pb2.Segment], book: Sequence[common_pb2.Segment]) -> None:
        self._book = book
        self._count = len(released)
        self._audio_end = released[-1].audio.end if released else 0
        self.spoken = released[-1].text.end if released else 0
        """Code points of the text that have come as sound."""
        self._announced: common_pb2.Segment | None = None
        self._pieces: list[bytes] = []
        self._received = 0
        self._waiting: list[common_pb2.Segment] = []
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def begun(self) -> bool:
        """True when the narration has a segment."""
        return self._count > 0

    @property
    def unfinished(self) -> bool:
        """True while a segment is announced and not whole."""
        return self._announced is not None

    def announce(self, segment: common_pb2.Segment) -> None:
        """`segment` follows; STREAM_BROKEN where it can not be the next one."""
        fits = (
            self._announced is None
            and segment.index == self._count
            and segment.audio.start == self._audio_end
            and segment.audio.end >= segment.audio.start
            and (segment.index >= len(self._book) or segment.sha256 == self._book[segment.index].sha256)
        )
        if not fits:
            raise broken("The voice service sent a segment out of order.")
        self._announced = segment
        self._pieces, self._received = [], 0

    def add(self, offset: int, data: bytes) -> None:
        """Bytes of the announced segment; STREAM_BROKEN where they are not the next ones."""
        if self._announced is None or offset != self._announced.audio.start + self._received:
            raise broken("The voice service sent audio out of order.")
        self._pieces.append(data)
        self._received += len(data)

    async def settle(self, spool: Spool) -> None:
        """Appends the announced segment to `spool` once it is whole. Waits while too many are not durable."""
        segment = self._announced
        if segment is None or self._received < segment.audio.end - segment.audio.start:
            return
        try:
            await spool.append(b"".join(self._pieces), sha256=segment.sha256)
        except SpoolMismatchError as mismatch:
            raise broken("The voice service's audio is not the one that it announced.") from mismatch
        self._announced, self._pieces = None, []
        self._count, self._audio_end, self.spoken = segment.index + 1, segment.audio.end, segment.text.end
        self._waiting.append(segment)
        self._notify()
        while len(self._waiting) >= MAX_WAITING:
            await self._change()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._notify()

    async def take(self) -> list[common_pb2.Segment]:
        """Waits for segments that are to be kept; empty when there is nothing more to come."""
        while not self._waiting and not self._closed:
            await self._change()
        taken, self._waiting = self._waiting, []
        self._notify()
        return taken

    async def _change(self) -> None:
        await self._changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
