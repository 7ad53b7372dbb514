"""How far narrations work ahead of what they send, all together, so that memory stays bounded."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

CHARACTERS_PER_SECOND: Final = 13
"""Of a voice at its own pace; espeak-ng and most others read 13 to 16."""
_UNIT: Final = 64 * 1024
"""Bytes that are counted as one."""


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


class AudioBudget:
    """Bounds the bytes of audio of all segments in the making to about `most`, served in the order of asking."""

    def __init__(self, most: int) -> None:
        self._units = max(1, most // _UNIT)
        self._free = asyncio.Semaphore(self._units)
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def take(self, size: float) -> AsyncGenerator[None, None]:
        """Waits until there is room for `size` bytes, or for all where that is less, and keeps it within the block."""
        wanted, taken = min(self._units, int(size / _UNIT) + 1), 0
        try:
            async with self._turn:
                while taken < wanted:
                    await self._free.acquire()
                    taken += 1
            yield
        finally:
            for _ in range(taken):
                self._free.release()
