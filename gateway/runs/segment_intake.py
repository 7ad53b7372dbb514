"""Segments on their way from the voice service to the manifest.

One task checks them as they come, another stores all that have come meanwhile in one checkpoint: so the voice service
never waits for storage, and a slow storage gets fewer and larger checkpoints.
"""

import asyncio
from typing import Final

from gateway.peers.stream import broken
from tale.common.v1 import common_pb2

MAX_WAITING: Final = 16
"""Segments that wait to become durable."""


class SegmentIntake:
    """The segments of one stream, in order; `last` is the one of the manifest behind which they go on."""

    def __init__(self, last: common_pb2.Segment | None) -> None:
        self._count = 0 if last is None else last.index + 1
        self._audio_end = 0 if last is None else last.audio.end
        self.spoken = 0 if last is None else last.text.end
        """Code points of the text that have been spoken."""
        self._waiting: list[common_pb2.Segment] = []
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def begun(self) -> bool:
        """True when the narration has a segment."""
        return self._count > 0

    async def put(self, segment: common_pb2.Segment) -> None:
        """Takes the next segment, and waits while too many are not durable. STREAM_BROKEN where it is not the next."""
        fits = (
            segment.index == self._count
            and segment.audio.start == self._audio_end < segment.audio.end
            and segment.text.start == self.spoken <= segment.text.end
            and segment.key
        )
        if not fits:
            raise broken(f"The voice service sent segment {segment.index} where segment {self._count} was due.")
        self._count, self._audio_end, self.spoken = segment.index + 1, segment.audio.end, segment.text.end
        self._waiting.append(segment)
        self._notify()
        while len(self._waiting) >= MAX_WAITING:
            await self._changed.wait()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._notify()

    async def take(self) -> list[common_pb2.Segment]:
        """Waits for segments to store; empty when no more will come."""
        while not self._waiting and not self._closed:
            await self._changed.wait()
        taken, self._waiting = self._waiting, []
        self._notify()
        return taken

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
