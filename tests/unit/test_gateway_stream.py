"""Streams of peer services: silence counts only where something is owed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.peers.clients import read_alive


async def silent(*first: int) -> AsyncIterator[int]:
    """Sends `first`, then nothing for ever."""
    for each in first:
        yield each
    await asyncio.Event().wait()


async def later(delay: asyncio.Event) -> AsyncIterator[int]:
    """Sends 1 once it may."""
    await delay.wait()
    yield 1


async def test_silent_stream_is_given_up() -> None:
    """After what came before the silence."""
    messages = read_alive(silent(1, 2), idle_seconds=0.01)
    assert 1 == await anext(messages)
    assert 2 == await anext(messages)
    with pytest.raises(TimeoutError):
        await anext(messages)


async def test_silence_is_allowed_while_nothing_is_owed() -> None:
    """However long it lasts; the message that comes after it is not lost."""
    may, asked = asyncio.Event(), 0

    def owing() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            may.set()
        return False

    assert [1] == [each async for each in read_alive(later(may), idle_seconds=0.01, owing=owing)]
    assert 3 <= asked


async def test_silence_times_out_once_something_is_owed() -> None:
    """Then it ends as any other."""
    with pytest.raises(TimeoutError):
        await anext(read_alive(silent(), idle_seconds=0.01, owing=lambda: True))
