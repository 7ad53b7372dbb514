"""Makes spools within one budget."""

from pathlib import Path
from typing import Final

from gateway.spool import Spool, SpoolBudget

BYTES_A_MINUTE: Final = 128_000 // 8 * 60
"""Audio of a minute at 128 kbit/s."""


class Spools:
    """The audio in progress of all runs of this gateway."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._budget = SpoolBudget(max_bytes)

    async def open(self, length_minutes: int) -> Spool:
        """A spool for a story of that length, once there is room; a half more is reserved for slow voices."""
        return await Spool.open(
            self._folder, self._budget, expected_bytes=BYTES_A_MINUTE * max(1, length_minutes) * 3 // 2
        )
