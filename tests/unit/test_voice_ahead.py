"""Segments in the making share a budget of bytes."""

import asyncio

from voice_service.synthesis.call import AudioBudget


async def test_segments_in_the_making_share_a_budget_of_bytes_in_the_order_of_asking() -> None:
    """A large one that waits is not overtaken by small ones, and one that gives up waiting takes nothing along."""
    budget, held, order = AudioBudget(1 << 20), asyncio.Event(), list[str]()

    async def make(name: str, size: int) -> None:
        async with budget.take(size):
            order.append(name)
            await held.wait()

    tasks = {
        name: asyncio.create_task(make(name, size))
        for name, size in (("first", 700_000), ("gives up", 500_000), ("large", 900_000), ("small", 10))
    }
    await asyncio.sleep(0)
    before = list(order)
    tasks["gives up"].cancel()
    await asyncio.wait([tasks["gives up"]])
    held.set()
    await asyncio.wait(tasks.values())

    assert ["first"] == before
    assert ["first", "large", "small"] == order


async def test_segment_larger_than_the_budget_is_made_alone() -> None:
    """It does not wait for room that there will never be."""
    async with asyncio.timeout(5), AudioBudget(1 << 20).take(1 << 30):
        pass
