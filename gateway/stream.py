"""Reading a sibling's stream without waiting for ever."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import TypeVar

import grpc

from servicekit.errors import DomainError

T = TypeVar("T")


async def read_owed(stream: AsyncIterable[T], *, idle_seconds: float, owing: Callable[[], bool]) -> AsyncIterator[T]:
    """Like `read_alive`, for a sibling that is rightly silent while we give it nothing to do.

    The silence counts only where `owing` says, when it has lasted, that something is owed.
    """
    messages, loop = aiter(stream), asyncio.get_running_loop()
    while True:
        try:
            async with asyncio.timeout(None) as limit:
                watch = _Watch(loop, limit, idle_seconds, owing)
                try:
                    message = await anext(messages)
                finally:
                    watch.stop()
        except StopAsyncIteration:
            return
        yield message


class _Watch:
    """Ends `limit` once a silence has lasted while something was owed. No task of its own: messages are many."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limit: asyncio.Timeout, seconds: float, owing: Callable[[], bool]
    ) -> None:
        self._loop = loop
        self._limit = limit
        self._seconds = seconds
        self._owing = owing
        self._timer = loop.call_later(seconds, self._look)

    def stop(self) -> None:
        """The silence is over."""
        self._timer.cancel()

    def _look(self) -> None:
        if self._owing():
            self._limit.reschedule(self._loop.time())
        else:
            self._timer = self._loop.call_later(self._seconds, self._look)


async def read_alive(stream: AsyncIterable[T], *, idle_seconds: float) -> AsyncIterator[T]:
    """The messages of `stream`; TimeoutError after `idle_seconds` of silence. Time spent downstream does not count."""
    messages = aiter(stream)
    while True:
        try:
            async with asyncio.timeout(idle_seconds):
                message = await anext(messages)
        except StopAsyncIteration:
            return
        yield message


async def either(one: asyncio.Event, other: asyncio.Event) -> None:
    """Returns once one of the two is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (one, other)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


def broken(what: str) -> DomainError:
    """A sibling's stream is not what it says of itself. The leg failed; what is durable stands."""
    return DomainError(grpc.StatusCode.UNAVAILABLE, "STREAM_BROKEN", what, retry_after=0.2)
