"""What the mock voice was asked, for tests to look at."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voice_service.ports import SegmentRequest

_KEPT_REQUESTS: Final = 10_000


class MockJournal:
    """Counts every call, and keeps the last 10,000 requests.

    `calls` were begun, `finished` ended whole; `characters` are code points of all that were begun; `probes` are
    questions whether it is well.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.finished = 0
        self.probes = 0
        self.characters = 0
        self.requests: deque[SegmentRequest] = deque(maxlen=_KEPT_REQUESTS)

    def begin(self, request: SegmentRequest) -> int:
        """Note a call and return its number, the first being 1."""
        self.calls += 1
        self.characters += len(request.text)
        self.requests.append(request)
        return self.calls

    def finish(self) -> None:
        """Note that a call ended whole."""
        self.finished += 1
