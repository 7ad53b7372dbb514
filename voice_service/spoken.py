"""A segment that is ready to be announced, and why one is not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servicekit.errors import DomainError
    from servicekit.resilience.errors import ProviderError
    from voice_service.ledger import CallRecord
    from voice_service.segments.ports import StoredSegment


class AudioNeed(Enum):
    """Which bytes a narration needs of a segment."""

    NONE = "none"
    """None: they are released as soon as they are stored."""
    AT_HAND = "at hand"
    """Those that were made just now."""
    BYTES = "bytes"
    """All, from the store where they are not at hand."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A segment that is stored.

    `cached` where no provider was called for it; `audio` as the caller needs it.
    """

    segment: StoredSegment
    cached: bool
    calls: tuple[CallRecord, ...] = ()
    audio: bytes | None = None


class SpeechError(Exception):
    """A segment could not be made: its provider failed for good, or the store did; `calls` are what was tried."""

    def __init__(self, error: ProviderError | DomainError, calls: tuple[CallRecord, ...]) -> None:
        super().__init__(str(error))
        self.error = error
        self.calls = calls
