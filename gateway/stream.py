"""Reading a sibling's stream without waiting for ever."""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import TypeVar

import grpc

from servicekit.errors import DomainError
from servicekit.patience import Patience

T = TypeVar("T")


async def read_owed(
    stream: AsyncIterable[T], *, idle_seconds: float, owing: Callable[[], bool] | None
) -> AsyncIterator[T]:
    """Like `read_alive`, for a sibling that is rightly silent while we give it nothing to do.

    The silence counts only where `owing` says, when it has lasted, that something is owed.
    """
    messages = aiter(stream)
    async with Patience(idle_seconds, owing=owing) as patience:
        while True:
            patience.begin()
            try:
                message = await anext(messages)
            except StopAsyncIteration:
                return
            patience.end()
            yield message


def read_alive(stream: AsyncIterable[T], *, idle_seconds: float) -> AsyncIterator[T]:
    """The messages of `stream`; TimeoutError after `idle_seconds` of silence. Time spent downstream does not count."""
    return read_owed(stream, idle_seconds=idle_seconds, owing=None)


def broken(what: str) -> DomainError:
    """A sibling's stream is not what it says of itself. The leg failed; what is durable stands."""
    return DomainError(grpc.StatusCode.UNAVAILABLE, "STREAM_BROKEN", what, retry_after=0.2)
