"""Two signals at once, of a supervisor and a terminal: every service still ends, and soon."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from standins.processes import MODULES, Cluster

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.mark.parametrize("numbers", [(TERM, TERM), (INT, TERM), (INT, TERM, INT)], ids=["TT", "IT", "ITI"])
@pytest.mark.parametrize("rounds", [1, pytest.param(3, marks=pytest.mark.long)])
async def test_signals_at_once_end_every_service(
    tmp_path: Path, numbers: tuple[signal.Signals, ...], rounds: int
) -> None:
    """The second one ends the drain of the first; equal ones may count as one. What was open is closed."""
    cluster = Cluster(tmp_path, {"DEFAULT_VOICE_PROVIDER": "mock", "DRAIN_SECONDS": "3600"})
    try:
        for _ in range(rounds):
            await cluster.start()
            for name in MODULES:
                for number in numbers:
                    os.kill(cluster.pid(name), number)
            async with asyncio.timeout(20):
                codes = {name: await cluster.ended(name) for name in MODULES}
            assert set(codes.values()) <= {0, 130}, codes
        logs = {name: await asyncio.to_thread(cluster.log, name) for name in MODULES}
        assert dict.fromkeys(MODULES, rounds) == {name: log.count('"event": "stopped"') for name, log in logs.items()}
    finally:
        await cluster.close()
