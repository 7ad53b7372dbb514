"""The timers of a streamed answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from servicekit.resilience.errors import ProviderErrorKind
from story_service.chat import ChatTimers
from story_service.providers.openrouter.failures import failure

T = TypeVar("T")

_LAST_WORDS_SECONDS: Final = 5.0


class Watch:
    """Counts from its making. Only text stops a timer, and none runs while the reader of the answer is busy."""

    def __init__(self, timers: ChatTimers, *, clock: Callable[[], float] | None = None) -> None:
        """`clock` gives seconds that never go back; by default it is the running event loop's."""
        self._clock = clock or asyncio.get_running_loop().time
        self._idle = timers.idle
        now = self._clock()
        self._end = now + timers.total
        self._next = now + timers.first_token
        self._paused = now
        self._whole = False
        self._waiting_for = "no text came in time"

    @property
    def deadline(self) -> float:
        """Until when is waited, on the clock."""
        return min(self._next, self._end)

    async def within(self, answer: Awaitable[T]) -> T:
        """Wait for `answer` as long as the timers let. Raises ProviderError TIMEOUT."""
        try:
            async with asyncio.timeout(self.deadline - self._clock()):
                return await answer
        except TimeoutError:
            late = self._end <= self._next
            raise failure(
                ProviderErrorKind.TIMEOUT, "the answer took too long" if late else self._waiting_for
            ) from None

    def finishing(self) -> None:
        """The text is whole: only what it cost is waited for, and that not for long."""
        if not self._whole:
            self._whole = True
            self._next = self._clock() + min(self._idle, _LAST_WORDS_SECONDS)

    def pause(self) -> None:
        """Stop the timers: something is handed to the reader."""
        self._paused = self._clock()

    def go_on(self, *, heard: bool) -> None:
        """Let the timers go on; with `heard` it was text, and from now on the next is waited for."""
        now = self._clock()
        pause = now - self._paused
        self._end += pause
        if heard and not self._whole:
            self._next = now + self._idle
            self._waiting_for = "no more text came in time"
        else:
            self._next += pause
