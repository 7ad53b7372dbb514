"""The timers of a streamed completion."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from servicekit.resilience.errors import ProviderErrorKind
from story_service.chat import ChatTimers, OutOfTimeError
from story_service.providers.chat.errors import Failures

T = TypeVar("T")

_LAST_WORDS_SECONDS: Final = 5.0


class StreamTimers:
    """The timeouts of an answer, from the call on. Text and thoughts reset them; time of the reader does not count."""

    def __init__(self, timers: ChatTimers, failures: Failures, *, clock: Callable[[], float] | None = None) -> None:
        """`clock` returns monotonic seconds; by default the running event loop's."""
        self._failures = failures
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
        """Time of the next timeout, on the clock."""
        return min(self._next, self._end)

    async def within(self, answer: Awaitable[T]) -> T:
        """Waits for `answer` until the next timeout. Raises ProviderError TIMEOUT."""
        try:
            async with asyncio.timeout(self.deadline - self._clock()):
                return await answer
        except TimeoutError:
            if self._end <= self._next:
                raise OutOfTimeError(provider=self._failures.provider) from None
            raise self._failures.of(ProviderErrorKind.TIMEOUT, self._waiting_for) from None

    def restart(self, *, first_token: float) -> None:
        """Starts the timer of the first text again: the call has not begun yet."""
        self._next = self._clock() + first_token

    def finishing(self) -> None:
        """The text seems complete: its cost, or text after all, is waited for, for a short time."""
        if not self._whole:
            self._whole = True
            self._next = self._clock() + min(self._idle, _LAST_WORDS_SECONDS)

    def pause(self) -> None:
        """Stops the timers while the reader has an item."""
        self._paused = self._clock()

    def resume(self, *, heard: bool) -> None:
        """Restarts the timers; with `heard` the item was text or a thought, and the idle timeout restarts."""
        now = self._clock()
        pause = now - self._paused
        self._end += pause
        if heard:
            self._whole = False
            self._next = now + self._idle
            self._waiting_for = "no more text came in time"
        else:
            self._next += pause
