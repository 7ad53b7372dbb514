"""Joins text that follows text within a moment, so that a fast model costs fewer messages."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final

from story_service.generation.generation import Delta, StoryItem

GATHER_SECONDS: Final = 0.02
"""A message costs both services about 0.1 ms each, whatever is in it; nobody reads faster than this."""


async def gathered(
    items: AsyncGenerator[StoryItem, None], *, seconds: float = GATHER_SECONDS
) -> AsyncGenerator[StoryItem, None]:
    """Yields `items` in order, deltas joined that come within `seconds` of the last one that was passed on.

    What comes after a longer pause is passed on at once. Raises what `items` raises, after all that came before.
    """
    waiting: list[StoryItem] = []
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        try:
            async with aclosing(items):
                async for item in items:
                    before = waiting[-1] if waiting else None
                    if isinstance(item, Delta) and isinstance(before, Delta):
                        waiting[-1] = Delta(before.offset, before.text + item.text)
                    else:
                        waiting.append(item)
                    arrived.set()
        finally:
            ended.set()
            arrived.set()

    reading = asyncio.create_task(read(), name="story items")
    try:
        while waiting or not ended.is_set():
            await arrived.wait()
            arrived.clear()
            taken = waiting.copy()
            waiting.clear()
            for item in taken:
                yield item
            if taken and isinstance(taken[-1], Delta):
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await ended.wait()
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
