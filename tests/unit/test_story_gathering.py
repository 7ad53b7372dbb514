"""Text that follows text within a moment goes out in one message."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from story_service.generation.content import Delta, Title
from story_service.generation.generation import StoryItem
from story_service.wire.servicer import gathered


async def at_once(*items: StoryItem) -> AsyncGenerator[StoryItem, None]:
    """All of them without a pause."""
    for item in items:
        yield item


async def told(items: AsyncGenerator[StoryItem, None]) -> list[StoryItem]:
    """What comes of `items`."""
    return [item async for item in gathered(items, seconds=60) if item is not None]


async def test_deltas_that_follow_each_other_are_joined() -> None:
    """Their text is the same, in order, from the first offset on."""
    assert [Title("Owl"), Delta(0, "One. Two. ")] == await told(
        at_once(Title("Owl"), Delta(0, "One. "), Delta(5, "Two. "))
    )


async def test_what_is_no_text_keeps_its_place() -> None:
    """A title between two deltas stays between them."""
    items: list[StoryItem] = [Delta(0, "One. "), Title("Owl"), Delta(5, "Two. ")]
    assert items == await told(at_once(*items))


async def test_first_text_is_not_held_back() -> None:
    """It comes while the model is silent after it."""
    silent = asyncio.Event()

    async def slow() -> AsyncGenerator[StoryItem, None]:
        yield Delta(0, "One. ")
        await silent.wait()

    items = gathered(slow(), seconds=60)
    assert Delta(0, "One. ") == await anext(items)
    silent.set()
    assert [] == [item async for item in items]


async def test_failure_comes_after_the_text_before_it() -> None:
    """Nothing that was written is lost with it."""

    async def broken() -> AsyncGenerator[StoryItem, None]:
        yield Delta(0, "One. ")
        raise LookupError

    items = gathered(broken(), seconds=60)
    assert Delta(0, "One. ") == await anext(items)
    with pytest.raises(LookupError):
        await anext(items)


async def test_reader_that_leaves_closes_the_source() -> None:
    """The model's stream does not go on for nobody."""
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[StoryItem, None]:
        try:
            yield Delta(0, "One. ")
            await asyncio.Event().wait()
        finally:
            closed.set()

    items = gathered(endless(), seconds=60)
    await anext(items)
    await items.aclose()
    assert closed.is_set()
