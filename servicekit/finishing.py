"""Finishes work whose caller has left."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class Finisher:
    """Runs work to its end, also when its caller is cancelled."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[Any]] = set()

    async def run(self, work: Awaitable[T]) -> T:
        """Returns what `work` returns; it continues when its caller is cancelled. A task may have several."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def settle(self) -> None:
        """Returns when all that is running now has ended."""
        if self._running:
            await asyncio.wait(self._running)

    def _done(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # The caller may be gone; a failure that is never looked at would be logged as a defect.
            task.exception()
