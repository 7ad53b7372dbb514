"""Rolling restarts under load: two replicas of each stateless service, one storage, and no call that fails."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from standins.processes import Cluster
from standins.steady_load import steady_load

PACE = {
    "DEFAULT_VOICE_PROVIDER": "mock",
    "STORY_OFFLINE_WORDS_PER_SECOND": "150",
    "VOICE_MOCK_SCRIPT": json.dumps({"first_byte_seconds": 0.02, "realtime_factor": 60}),
    "PICKUP_INTERVAL_SECONDS": "0.5",
}
ORDER = ("storage", "voice", "story", "gateway")
"""As docs/upgrading.md has it: who is called before who calls."""


@asynccontextmanager
async def replicated(folder: Path, *names: str) -> AsyncIterator[Cluster]:
    """A cluster with two replicas of these services."""
    it = Cluster(folder, PACE, replicas=dict.fromkeys(names, 2))
    try:
        await it.start()
        await it.start(*names, replica=2)
        yield it
    finally:
        await it.close()


@pytest_asyncio.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Two of each but storage."""
    async with replicated(tmp_path_factory.mktemp("house"), "gateway", "story", "voice") as it:
        yield it


async def restart(house: Cluster, name: str, replica: int) -> None:
    """As a container engine does: SIGTERM, and a new process at the address."""
    assert 0 == await house.terminate(name, replica)
    await house.start(name, replica=replica)


async def test_rolling_restart_of_gateways_fails_no_call(tmp_path: Path) -> None:
    """The shortest of them; all four services under more load are in the long test."""
    async with replicated(tmp_path, "gateway") as house, steady_load(house.target, tellers=1) as load:
        await load.more_stories(0)
        for replica in (1, 2):
            await restart(house, "gateway", replica)
        await load.more_stories(0)
    assert [] == load.failures
    assert load.calls > 5


@pytest.mark.long
@pytest.mark.parametrize("name", ORDER)
async def test_rolling_restart_fails_no_call(house: Cluster, name: str) -> None:
    """One replica after the other, three times over; of storage there is one, and its callers wait."""
    async with steady_load(house.target, tellers=4) as load:
        await load.more_stories(2)
        for _ in range(3):
            for replica in (1,) if name == "storage" else (1, 2):
                await restart(house, name, replica)
            await load.more_stories(2)
    assert [] == load.failures
    assert load.stories > 10
