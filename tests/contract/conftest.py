"""What the suites of the stores have in common: each adapter in turn, and its clock."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.storage_stores import ADAPTERS, Stores, adapter_of

from standins.storage_kit import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """Storage's clock."""
    return ManualClock()


@pytest.fixture(params=ADAPTERS)
async def stores(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Stores]:
    """Each adapter in turn."""
    async with adapter_of(request)(tmp_path, clock) as adapter:
        yield adapter
