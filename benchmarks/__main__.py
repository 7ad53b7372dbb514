"""Prints the table of what was measured: `make bench`, or `python -m benchmarks [PART …]`.

The adapters to OpenRouter and ElevenLabs are the real ones; the upstreams are stand-ins in a process of their own
(`standins.upstreams`). Load generator, stand-ins and cluster share one machine. Everything is durable
(STORAGE_SYNC=normal). docs/benchmarks.md says what each row is.
"""

import asyncio
import os
import platform
import sys
from pathlib import Path
from typing import Final

from benchmarks.moments import cold_start, frame_walk, heard_while_written, starts
from benchmarks.table import HEAD, Table
from benchmarks.throughput import many_at_a_time, one_at_a_time, thousand_in_flight
from standins.paid_upstreams import paid_upstreams

PARTS: Final = ("house", "streaming", "voice", "storage")
"""The whole cluster, and tables of services alone that have a module of their own."""
_ALONE_SECONDS: Final = 120.0
_LIMITS: Final = "Limits on outward calls are lifted: 256 at a time to models and 256 to voices."


async def house(table: Table) -> None:
    """All rows about the cluster."""
    print(HEAD)
    frame_walk(table)
    async with paid_upstreams() as upstreams:
        async with table.measuring("starts", seconds=60):
            await starts(table, upstreams)
        async with table.measuring("one at a time", seconds=60):
            await one_at_a_time(table, upstreams)
        async with table.measuring("first sound", seconds=90):
            await heard_while_written(table, upstreams)
        rate = 0.0
        async with table.measuring("many at a time", seconds=240):
            rate = await many_at_a_time(table, upstreams)
        async with table.measuring("a thousand in flight", seconds=200):
            await thousand_in_flight(table, upstreams, rate)
    async with table.measuring("cold start", seconds=60):
        await cold_start(table)


async def alone(table: Table, part: str) -> None:
    """The table of a module of its own."""
    print(f"\n{part}:\n", flush=True)
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", f"benchmarks.{part}")
    try:
        async with table.measuring(part, seconds=_ALONE_SECONDS):
            code = await process.wait()
            if code:
                raise RuntimeError(f"ended with {code}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def main(parts: list[str]) -> int:
    """Measures and prints; how many rows failed."""
    table = Table()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}. {_LIMITS}\n", flush=True)
    for part in parts:
        if part == "house":
            await house(table)
        elif (Path(__file__).parent / f"{part}.py").exists():
            await alone(table, part)
    print(f"\n{table.seconds:.0f} s, {table.failed} failed.", flush=True)
    return table.failed


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(main(sys.argv[1:] or list(PARTS))) else 0)
