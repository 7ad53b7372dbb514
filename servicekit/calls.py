"""Tracks the calls in flight and whether more are admitted."""

import asyncio
from typing import Any, Final

from servicekit.errors import unavailable

_LONGEST_WAIT: Final = 10.0


class CallTracker:
    """Counts calls in flight, holds calls back while the service starts, and lets a drain await their end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.interrupted = False
        self.draining = False

    @property
    def in_flight(self) -> int:
        """Calls that are being answered now; health watches and reflection do not count."""
        return len(self._tasks)

    def open(self) -> None:
        """Lets calls in: the service has started."""
        self._open.set()

    async def admitted(self) -> None:
        """Returns once the service has started; UNAVAILABLE / STARTING when that takes too long."""
        if self._open.is_set():
            return
        try:
            async with asyncio.timeout(_LONGEST_WAIT):
                await self._open.wait()
        except TimeoutError:
            raise unavailable("STARTING", "The service is still starting.") from None

    def enter(self, task: asyncio.Task[Any]) -> None:
        """Notes that a call begins, answered by `task`."""
        self._tasks.add(task)
        self._idle.clear()

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Notes that a call has ended."""
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()

    async def wait_idle(self, deadline: float) -> bool:
        """Returns True when no call is in flight, False when `deadline` (the loop's clock) comes first."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def interrupt(self) -> None:
        """Ends all calls in flight: their callers get UNAVAILABLE / RECONNECT."""
        self.interrupted = True
        for task in tuple(self._tasks):
            task.cancel()
