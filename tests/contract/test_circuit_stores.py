"""Every store of shared circuits: the one in memory, and Redis."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.circuit_stores import MemoryCircuits, redis_server

from servicekit.resilience.errors import ProviderErrorKind
from servicekit.resilience.shared import CircuitStore, RedisCircuits, SharedState


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CircuitStore]:
    """An empty store."""
    if request.param == "memory":
        yield MemoryCircuits(time.monotonic)
        return
    async with redis_server(tmp_path) as url:
        it = RedisCircuits(url.replace("redis://", "valkey://"), "story")
        yield it
        await it.aclose()


def opened(seconds: float) -> SharedState:
    """A circuit that is open for so long since a quota was used up."""
    return SharedState(
        id="replica/1",
        provider="openrouter",
        is_open=True,
        seconds=seconds,
        cause=ProviderErrorKind.QUOTA,
    )


async def test_store_without_changes_is_empty(store: CircuitStore) -> None:
    """Reading needs no preparation."""
    assert {} == await store.read()


async def test_change_is_read_with_what_is_left_of_its_window(store: CircuitStore) -> None:
    """All fields come back, and time has passed."""
    await store.publish("openrouter:a/b", opened(60.0))
    await asyncio.sleep(0.05)

    (name, state), *others = (await store.read()).items()
    assert not others
    assert "openrouter:a/b" == name
    assert ("replica/1", "openrouter", True) == (state.id, state.provider, state.is_open)
    assert ProviderErrorKind.QUOTA is state.cause
    assert 30.0 < state.seconds <= 59.95


async def test_window_that_is_over_is_read(store: CircuitStore) -> None:
    """With what is left of it below zero: a circuit is half-open then."""
    await store.publish("a", opened(0.0))
    await asyncio.sleep(0.05)
    assert -30.0 < (await store.read())["a"].seconds < 0


async def test_last_change_of_each_circuit_counts(store: CircuitStore) -> None:
    """An earlier one is replaced, and other circuits stay."""
    await store.publish("a", opened(60.0))
    await store.publish("b", opened(60.0))
    await store.publish("a", SharedState(id="replica/2", provider="openrouter", is_open=False))

    states = await store.read()
    assert {"a": "replica/2", "b": "replica/1"} == {name: state.id for name, state in states.items()}
    assert not states["a"].is_open


async def test_probe_is_claimed_once(store: CircuitStore) -> None:
    """By one of many that ask at the same time; another circuit has a probe of its own."""
    claims = await asyncio.gather(*(store.claim("a", f"replica-{n}", 60.0) for n in range(20)))
    assert 1 == sum(claims)
    assert await store.claim("b", "replica-1", 60.0)


async def test_claim_ends_with_its_time_or_when_it_is_released(store: CircuitStore) -> None:
    """Then another replica can have it."""
    assert await store.claim("a", "replica-1", 0.1)
    await asyncio.sleep(0.15)
    assert await store.claim("a", "replica-2", 60.0)
    await store.release("a")
    assert await store.claim("a", "replica-3", 60.0)
