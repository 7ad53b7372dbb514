"""Housekeeping goes on whatever happens to it."""

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from servicekit.errors import unavailable
from standins.storage_kit import ManualClock
from storage_service.stories.housekeeper import Housekeeper
from storage_service.supabase.errors import SupabaseDefectError

if TYPE_CHECKING:
    from storage_service.audio.noted import NotedObjects
    from storage_service.audio.segments import SegmentLibrary
    from storage_service.ports import RemovalStore


class Failing:
    """Objects that fail once; then `went_on` is set."""

    def __init__(self, error: Exception) -> None:
        self._errors = [error]
        self.went_on = asyncio.Event()

    async def remove_deleted(self) -> int:
        """Fails the first time."""
        if self._errors:
            raise self._errors.pop()
        self.went_on.set()
        return 0


class Removals:
    """Has nothing to remove."""

    async def scrub(self) -> None:
        """Does nothing."""


class Segments:
    """Segments within their bound."""

    async def make_room(self) -> None:
        """Does nothing."""


@pytest.mark.parametrize(
    "error", [SupabaseDefectError(418, "SHORT"), unavailable("STORAGE_BUSY", "Later."), RuntimeError("Mia")]
)
async def test_no_failure_ends_housekeeping(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """The next round is made; no text of an unexpected error is logged."""
    objects = Failing(error)
    keeper = Housekeeper(
        cast("RemovalStore", Removals()),
        cast("NotedObjects", objects),
        cast("SegmentLibrary", Segments()),
        ManualClock(),
        retention=None,
    )
    rounds = asyncio.create_task(keeper.run(sweep_seconds=0.001, scrub_seconds=0.001))
    went_on = asyncio.create_task(objects.went_on.wait())
    await asyncio.wait([rounds, went_on], return_when=asyncio.FIRST_COMPLETED)
    assert objects.went_on.is_set()
    rounds.cancel()
    await asyncio.wait([rounds, went_on])
    assert "Mia" not in "".join(capsys.readouterr())
