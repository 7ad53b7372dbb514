"""Requests of a caller in a minute, counted in memory and in Redis."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from support.circuit_stores import redis_server

from gateway.door.quotas import RequestLimit
from gateway.settings import GatewaySettings
from servicekit.errors import DomainError
from servicekit.metrics import Metrics


class Limits:
    """Limits of several gateways over one store."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.metrics = Metrics()
        self.limits: list[RequestLimit] = []

    def gateway(self, per_minute: int = 5) -> RequestLimit:
        """The limit of one gateway."""
        settings = GatewaySettings(requests_per_minute=per_minute, limit_store_url=SecretStr(self.url))
        self.limits.append(RequestLimit(settings, Metrics() if self.limits else self.metrics))
        return self.limits[-1]


@pytest.fixture(autouse=True)
def _within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute is left of the window, so that no test runs from one into the next; a busy machine may be slow."""
    monkeypatch.setattr("time.time", lambda: 1_800_000_030.0)
    monkeypatch.setattr("gateway.door.quotas._TIMEOUT", 30.0)


@pytest.fixture(params=["memory", "redis"])
async def limits(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Limits]:
    """An empty store."""
    if request.param == "memory":
        yield Limits("")
        return
    async with redis_server(tmp_path) as url:
        store = Limits(url.replace("redis://", "valkey://"))
        yield store
        for each in store.limits:
            await each.close()


async def passed(limit: RequestLimit, who: str = "a") -> DomainError | None:
    """How a request is refused; None where it is served."""
    try:
        await limit.check(who)
    except DomainError as error:
        return error
    return None


async def test_parallel_requests_at_the_edge_of_a_limit(limits: Limits) -> None:
    """Exactly as many pass as may, and another caller has a limit of its own."""
    limit = limits.gateway()
    refused = [one for one in await asyncio.gather(*(passed(limit) for _ in range(24))) if one]
    assert 24 - 5 == len(refused)
    assert {"RATE_LIMITED"} == {one.reason for one in refused}
    assert {"requests_per_minute"} == {one.metadata["quota"] for one in refused}
    assert all(0 < (one.retry_after or 0) <= 60 for one in refused)
    assert await passed(limit, "b") is None


async def test_gateways_count_together_where_they_share_a_store(limits: Limits) -> None:
    """Each alone in memory."""
    gateways = [limits.gateway(), limits.gateway()]
    refused = await asyncio.gather(*(passed(gateways[number % 2]) for number in range(24)))
    assert (5 if limits.url else 10) == sum(one is None for one in refused)


async def test_refused_requests_cost_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many they were, the next minute is as the one before."""
    limit = Limits("").gateway()
    await asyncio.gather(*(passed(limit) for _ in range(100)))
    monkeypatch.setattr("time.time", lambda: 1_800_000_030.0 + 120)
    assert 5 == sum([await passed(limit) is None for _ in range(24)])


async def test_request_passes_after_the_time_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before there is room."""
    limit = Limits("").gateway()
    refused = [await passed(limit) for _ in range(6)][-1]
    assert refused is not None
    monkeypatch.setattr("time.time", lambda: 1_800_000_030.0 + (refused.retry_after or 0) + 0.1)
    assert await passed(limit) is None


async def test_store_that_is_away_refuses_nobody() -> None:
    """It is asked again later, and the metric shows what was not counted."""
    limits = Limits("redis://127.0.0.1:1/0")
    limit = limits.gateway()
    assert [None] * 24 == [await passed(limit) for _ in range(24)]
    await limit.close()
    assert 24.0 == limits.metrics.registry.get_sample_value("gateway_limit_store_failures_total")
