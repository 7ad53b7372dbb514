"""Segments in memory: the least recently used make room."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from voice_service.synthesis.store import SegmentMissingError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from voice_service.synthesis.store import StoredSegment

MAX_BYTES: Final = 256 << 20
"""Most bytes of a store of its own: an hour and a half of the default format."""


class MemorySegments:
    """A SegmentStore of at most `max_bytes` of audio, for a voice service without a storage service."""

    is_shared = False

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._segments: OrderedDict[str, tuple[StoredSegment, bytes]] = OrderedDict()

    async def find(self, keys: Collection[str], story_id: str) -> Mapping[str, StoredSegment]:
        """See SegmentStore."""
        del story_id
        found = {}
        for key in keys:
            if key in self._segments:
                self._segments.move_to_end(key)
                found[key] = self._segments[key][0]
        return found

    async def read(self, key: str) -> bytes:
        """See SegmentStore."""
        if key not in self._segments:
            raise SegmentMissingError(key)
        self._segments.move_to_end(key)
        return self._segments[key][1]

    async def put(
        self, segment: StoredSegment, audio: bytes, story_id: str, *, deadline: float | None = None
    ) -> StoredSegment:
        """See SegmentStore. Never fails."""
        del story_id, deadline
        return self.add(segment, audio)

    def add(self, segment: StoredSegment, audio: bytes) -> StoredSegment:
        """Stores a segment unless its key is taken, and returns the one that is stored."""
        if segment.key not in self._segments:
            self._segments[segment.key] = (segment, audio)
            self._bytes += len(audio)
        self._segments.move_to_end(segment.key)
        stored = self._segments[segment.key][0]
        while self._bytes > self._max_bytes:
            _, (_, oldest) = self._segments.popitem(last=False)
            self._bytes -= len(oldest)
        return stored

    def take(self, key: str) -> tuple[StoredSegment, bytes] | None:
        """Removes a segment and returns it with its bytes; None where it is not stored."""
        taken = self._segments.pop(key, None)
        if taken is not None:
            self._bytes -= len(taken[1])
        return taken

    async def aclose(self) -> None:
        """Nothing to close."""
