"""Makes spools within one budget."""

from pathlib import Path
from typing import Final

from gateway.spool import Spool, SpoolBudget
from tale.common.v1 import common_pb2

BYTES_A_MINUTE: Final = 128_000 // 8 * 60
"""Audio of a minute at 128 kbit/s; what is coded more tightly takes less."""
UNCODED_BYTES_A_MINUTE: Final = 44_100 * 2 * 60
"""Samples of 16 bits at 44.1 kHz."""


class Spools:
    """The audio in progress of all runs of this gateway."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._budget = SpoolBudget(max_bytes)

    async def open(self, length_minutes: int, audio_format: common_pb2.AudioFormat.ValueType) -> Spool:
        """A spool for a story of that length, once there is room; a half more is reserved for slow voices."""
        minute = UNCODED_BYTES_A_MINUTE if audio_format == common_pb2.AUDIO_FORMAT_WAV else BYTES_A_MINUTE
        return await Spool.open(self._folder, self._budget, expected_bytes=minute * max(1, length_minutes) * 3 // 2)
