"""How far narrations work ahead of what they send, all together, so that memory stays bounded."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class WorkAhead:
    """Each narration makes `each` segments ahead, fewer where many narrations share `total`.

    Where it is none, the next segment is still made while one goes out.
    """

    def __init__(self, each: int, total: int) -> None:
        self._each = each
        self._total = total
        self._active = 0

    @contextmanager
    def narration(self) -> Iterator[None]:
        """Count a narration that goes on within the block."""
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1

    def segments(self) -> int:
        """Return how many segments a narration may make ahead now."""
        return min(self._each, self._total // max(1, self._active))
