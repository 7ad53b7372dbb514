"""Reads a peer service's stream without waiting for ever."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from typing import TypeVar

from servicekit.errors import DomainError
from servicekit.patience import Patience

T = TypeVar("T")


async def read_alive(
    stream: AsyncIterable[T], *, idle_seconds: float, owing: Callable[[], bool] | None = None
) -> AsyncGenerator[T, None]:
    """The messages of `stream`; TimeoutError after `idle_seconds` of silence. Time spent downstream does not count.

    Where `owing` is given, silence counts only where it says, when the silence has lasted, that something is owed: a
    service is rightly silent while it has nothing to do.
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


def broken(what: str) -> DomainError:
    """A stream is not what it says of itself. The attempt failed; what is durable stands."""
    return DomainError("STREAM_BROKEN", what, retry_after=0.2)
