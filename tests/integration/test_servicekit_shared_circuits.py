"""Replicas of a service that share their circuit breakers through a Redis server."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from support.circuit_services import CircuitService
from support.circuit_stores import redis_server
from support.servers import running

from servicekit.settings import ConfigurationError, SharingSettings
from standins.processes import free_ports

SOON = 5.0
"""On a loaded machine; a second elsewhere."""


@asynccontextmanager
async def replicas(url: str, *services: str) -> AsyncIterator[list[CircuitService]]:
    """A replica of each service that is named."""
    apps = [CircuitService([]) for _ in services]
    settings = SharingSettings(circuit_store_url=url, drain_seconds=1)
    async with AsyncExitStack() as stack:
        for app, service in zip(apps, services, strict=True):
            await stack.enter_async_context(running(app, service=service, settings=settings))
        yield apps


async def become(app: CircuitService, **states: str) -> None:
    """Returns once the circuits of `app` have these states."""
    async with asyncio.timeout(SOON):
        while app.states() != states:  # noqa: ASYNC110 - what another process does sends no event
            await asyncio.sleep(0.02)


async def test_replicas_of_a_service_share_their_circuits(tmp_path: Path) -> None:
    """What opens and closes in one does so in the other; another service has its own."""
    async with redis_server(tmp_path) as url, replicas(url, "story", "story", "voice") as (one, other, voice):
        one.breakers.get("model", provider="demo").open_until(60)
        await become(other, model="open")
        other.breakers.reset("model")
        await become(one, model="closed")
        assert {} == voice.states()


async def test_missing_library_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable and the remedy, and without the password."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r"^CIRCUIT_STORE_URL needs the library redis: pip install") as refused:
        async with replicas("redis://:secret@127.0.0.1:6379/0", "story"):
            pytest.fail("it starts")
    assert "secret" not in str(refused.value)


async def test_replicas_continue_alone_while_the_store_is_away(tmp_path: Path) -> None:
    """A service starts and serves without it; what opened meanwhile is shared when it is back."""
    (port,) = free_ports(1)
    url = f"redis://127.0.0.1:{port}/0"
    async with replicas(url, "story", "story") as (one, other):
        one.breakers.get("model").open_until(60)
        await asyncio.sleep(1.0)
        assert {"model": "open"} == one.states()
        assert {} == other.states()
        async with redis_server(tmp_path, port):
            await become(other, model="open")
        other.breakers.get("second").open_until(60)
        await asyncio.sleep(1.0)
        assert {"model": "open"} == one.states()
        async with redis_server(tmp_path, port):
            await become(one, model="open", second="open")
