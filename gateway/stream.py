"""Reading a sibling's stream without waiting for ever."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import TypeVar

import grpc

from servicekit.errors import DomainError

T = TypeVar("T")


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


def broken(what: str) -> DomainError:
    """A sibling's stream is not what it says of itself. The leg failed; what is durable stands."""
    return DomainError(grpc.StatusCode.UNAVAILABLE, "STREAM_BROKEN", what, retry_after=0.2)
