"""Lists that are stored when they cannot be fetched again."""

import asyncio

import pytest

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.providers.cached_list import CachedList


class Source:
    """Gives 1, 2, 3, or fails."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls = 0
        self.fails: Exception | None = None
        self.called = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self) -> int:
        self.calls += 1
        self.called.set()
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        return self.calls

    def kept(self) -> CachedList[int]:
        return CachedList(self.fetch, name="numbers", provider="them", seconds=100, clock=lambda: self.now)


def _error() -> ProviderError:
    return ProviderError(ProviderErrorKind.OVERLOAD, "busy", provider="them", retry_after=3.0, status=503)


async def test_what_was_fetched_is_good_for_its_time() -> None:
    """And then given once more, while it is fetched again."""
    source = Source()
    kept = source.kept()

    assert (None, True) == (kept.value, kept.stale)
    assert 1 == await kept.get()
    source.now = 99
    assert (1, False) == (await kept.get(), kept.stale)
    source.now = 101
    assert 1 == await kept.get()
    await kept.settled()
    assert (2, 2) == (await kept.get(), source.calls)


async def test_an_old_value_is_given_at_once() -> None:
    """Nobody waits for a fetch that hangs."""
    source = Source()
    kept = source.kept()
    await kept.get()
    source.gate.clear()
    source.now = 101

    source.called.clear()

    assert [1, 1] == [await kept.get(), await kept.get()]
    await source.called.wait()
    await kept.aclose()
    assert 2 == source.calls


async def test_all_wait_for_the_first_fetch_and_one_who_leaves_does_not_end_it() -> None:
    """One call for everybody."""
    source = Source()
    kept = source.kept()
    source.gate.clear()
    leaving, staying = (asyncio.create_task(kept.get()) for _ in range(2))
    await source.called.wait()
    leaving.cancel()
    source.gate.set()

    assert (1, 1) == (await staying, source.calls)
    assert leaving.cancelled()


async def test_a_failure_keeps_what_there_is() -> None:
    """Stale until a fetch succeeds; half a minute passes before the next."""
    source = Source()
    kept = source.kept()
    await kept.get()
    source.fails = _error()
    for source.now in (101, 130):
        assert 1 == await kept.get()
        await kept.settled()
    assert (True, 2) == (kept.stale, source.calls)

    source.fails = None
    source.now = 132
    await kept.get()
    await kept.settled()
    assert (3, False) == (await kept.get(), kept.stale)


async def test_a_failure_without_a_value_is_told_to_all_who_ask() -> None:
    """As it was, with an exception for each."""
    source = Source()
    source.fails = _error()
    kept = source.kept()
    told = await asyncio.gather(*(kept.get() for _ in range(3)), return_exceptions=True)

    assert 1 == source.calls
    assert 3 == len({id(error) for error in told})
    for error in told:
        assert isinstance(error, ProviderError)
        assert ("busy", 3.0, 503) == (error.message, error.retry_after, error.status)


async def test_a_value_can_be_declared_old() -> None:
    """Then the next caller has it fetched."""
    source = Source()
    kept = source.kept()
    await kept.get()
    kept.expire()
    await kept.get()
    await kept.settled()

    assert 2 == await kept.get()


async def test_a_defect_is_not_taken_for_a_failure() -> None:
    """It comes out where somebody waits."""
    source = Source()
    source.fails = ZeroDivisionError()

    with pytest.raises(ZeroDivisionError):
        await source.kept().get()


async def test_after_closing_nothing_is_fetched() -> None:
    """Whoever waits is told."""
    source = Source()
    source.gate.clear()
    kept = source.kept()
    waiting = asyncio.create_task(kept.get())
    await source.called.wait()
    await kept.aclose()

    for call in (waiting, kept.get()):
        with pytest.raises(ProviderError) as caught:
            await call
        assert ProviderErrorKind.CANCELLED == caught.value.kind
    assert 1 == source.calls
