"""Segments by key: what the service needs of a store, and a store in memory."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, Protocol

from cachetools import LRUCache

from servicekit.errors import DomainError
from tale.storage.v1.segment_pb2 import SegmentWords

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tale.storage.v1.segment_pb2 import StoredSegment
    from voice_service.ports import ProviderMetadata, SegmentRequest, StoryFormat, WordTiming


_RETRY_AFTER: Final = 5.0


def words_of(timings: Iterable[WordTiming]) -> SegmentWords | None:
    """Returns the words that a provider timed, None where there are none."""
    columns = list(zip(*timings, strict=True))
    if not columns:
        return None
    text_starts, text_ends, starts, ends = columns
    return SegmentWords(
        text_starts=text_starts, text_ends=text_ends, start_us=_microseconds(starts), end_us=_microseconds(ends)
    )


def _microseconds(seconds: Iterable[float]) -> list[int]:
    return [max(0, round(at * 1_000_000)) for at in seconds]


class SegmentMissingError(LookupError):
    """The store does not have the bytes of a segment, or they are damaged."""


class SegmentStore(Protocol):
    """Stores segments by key (`segment_key`). The first segment that is stored under a key wins."""

    @property
    def is_shared(self) -> bool:
        """Whether the storage service has the segments, so that it can compose files of them."""

    async def find(self, keys: Collection[str], story_id: str) -> Mapping[str, StoredSegment]:
        """Returns those of the segments that are stored, and notes that `story_id` ("": no story) uses them.

        Raises UNAVAILABLE / STORAGE_UNAVAILABLE.
        """

    async def read(self, key: str) -> bytes:
        """Returns the bytes of a segment.

        Raises SegmentMissingError, UNAVAILABLE / STORAGE_UNAVAILABLE.
        """

    async def put(
        self, segment: StoredSegment, audio: bytes, story_id: str, *, deadline: float | None = None
    ) -> StoredSegment:
        """Stores a segment that `story_id` uses and returns the one that is stored: another one where that was first.

        `deadline`, of the loop's clock, ends the attempts. Raises NOT_FOUND / STORY_NOT_FOUND for a story that was
        deleted; UNAVAILABLE / STORAGE_UNAVAILABLE, and then a later `find` of this process still finds the segment.
        """

    async def aclose(self) -> None:
        """Closes connections. The store is not used after it."""


def store_unavailable(message: str = "The segment store does not answer.") -> DomainError:
    """Returns UNAVAILABLE / STORAGE_UNAVAILABLE."""
    return DomainError("STORAGE_UNAVAILABLE", message, retry_after=_RETRY_AFTER)


_VERSION: Final = 1
"""Raised when the same request comes to sound different, so that what was stored before is not found."""


def segment_key(request: SegmentRequest, metadata: ProviderMetadata, story_format: StoryFormat) -> str:
    """Returns the key of the segment in the segment store: 64 hexadecimal digits that reveal nothing of the text.

    The text before counts only for providers that take it. Word timings do not count: they are always asked for.
    """
    facts = {
        "version": _VERSION,
        "text": request.text,
        "language": request.language_code,
        "provider": metadata.name,
        "voice": request.voice_id,
        "model": request.model_id,
        "settings": {name: value for name, value in asdict(request.settings).items() if value is not None},
        "format": story_format.name,
        "previous_text": request.previous_text if metadata.takes_previous_text else "",
        **({"pause": request.pause} if request.pause else {}),
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


MAX_BYTES: Final = 256 << 20
"""Most bytes of a store of its own: an hour and a half of the default format."""


class MemorySegments:
    """A SegmentStore of at most `max_bytes` of audio, for a voice service without a storage service."""

    is_shared = False

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._segments: LRUCache[str, tuple[StoredSegment, bytes]] = LRUCache(
            max_bytes, getsizeof=lambda stored: len(stored[1])
        )

    async def find(self, keys: Collection[str], story_id: str) -> Mapping[str, StoredSegment]:
        """See SegmentStore."""
        del story_id
        return {key: self._segments[key][0] for key in keys if key in self._segments}

    async def read(self, key: str) -> bytes:
        """See SegmentStore."""
        if key not in self._segments:
            raise SegmentMissingError(key)
        return self._segments[key][1]

    async def put(
        self, segment: StoredSegment, audio: bytes, story_id: str, *, deadline: float | None = None
    ) -> StoredSegment:
        """See SegmentStore. Never fails."""
        del story_id, deadline
        return self.add(segment, audio)

    def add(self, segment: StoredSegment, audio: bytes) -> StoredSegment:
        """Stores a segment unless its key is taken, and returns the one that is stored."""
        # One that is larger than the store is not stored.
        with suppress(ValueError):
            return self._segments.setdefault(segment.key, (segment, audio))[0]
        return segment

    def take(self, key: str) -> tuple[StoredSegment, bytes] | None:
        """Removes a segment and returns it with its bytes; None where it is not stored."""
        return self._segments.pop(key, None)

    async def aclose(self) -> None:
        """Nothing to close."""
