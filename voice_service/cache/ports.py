"""What is kept of a segment, and what the service asks of whatever keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from voice_service.ports import WordTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedSegment:
    """A verified segment in the story's format.

    `sha256` is of `audio`, 32 bytes. `samples` per channel at `sample_rate` Hz. `words` are positions in the spoken
    text and seconds from the segment's start.
    """

    audio: bytes
    sha256: bytes
    samples: int
    sample_rate: int
    provider: str
    voice_id: str
    model_id: str
    words: tuple[WordTiming, ...] = ()


@dataclass(frozen=True, slots=True)
class CacheStats:
    """How the cache did since the process began; `entries` and `bytes` as far as the cache has looked at its store."""

    hits: int
    hit_bytes: int
    misses: int
    corrupt: int
    evicted: int
    entries: int
    bytes: int


class CacheError(Exception):
    """The store behind the cache did not do what was asked."""


class SegmentCache(Protocol):
    """Keeps segments by key (`voice_service.key`)."""

    async def get(self, key: str, story_id: str = "") -> CachedSegment | None:
        """Return the segment, noting that `story_id` uses it; None where there is none or what is there is damaged.

        Raises CacheError.
        """

    async def put(self, key: str, segment: CachedSegment, story_ids: Collection[str] = ()) -> None:
        """Keep the segment: when this returns it survives the death of the process. Raises CacheError.

        `story_ids` are the stories that asked for it, "" standing for whoever asked for no story. Where all of them
        were forgotten, also while this goes on, nothing is kept.
        """

    async def forget(self, story_ids: Sequence[str], segment_sha256: Sequence[bytes]) -> int:
        """Remove what was used for any of the stories or has any of the checksums; returns how many segments.

        The stories are remembered for as long as anything can be under way for them. Raises CacheError.
        """

    async def note_audio(self, key: str, sha256: bytes) -> None:
        """Note that the segment was given out in bytes of that checksum too, for `forget`. Raises CacheError."""

    def stats(self) -> CacheStats:
        """Tell how the cache does."""

    async def start(self) -> None:
        """Begin to look at what the store holds, in the background."""

    async def aclose(self) -> None:
        """Stop what goes on in the background."""
