"""Prints measurements beside their targets: `make bench`, or `python -m benchmarks [PART …] [--only TEXT]`.

The adapters to OpenRouter and ElevenLabs are the real ones; the upstreams are stand-ins in a process of their own
(`standins.upstreams`). Load generator, stand-ins and cluster share one machine. docs/benchmarks.md describes each
row.
"""

import argparse
import asyncio
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from benchmarks.aftermath import AFTERMATH
from benchmarks.hearing import HEARING
from benchmarks.kills import KILLING
from benchmarks.outages import OUTAGES
from benchmarks.replicas import REPLICATION
from benchmarks.starts import starts
from benchmarks.storm import STORMING
from benchmarks.table import Line, Measurement, Report, Table
from benchmarks.throughput import THROUGHPUT
from standins.houses import LIFTED_NOTE

ALONE: Final = ("streaming", "voice", "storage", "bounds", "turns")
"""Tables about one service or caller, each printed by a module of its own."""
PARTS: Final = ("house", "reliability", *ALONE)
SOAK: Final = "soak"
"""Runs only if it is named, since it takes half an hour."""
FUZZ: Final = Line(
    "every RPC fed 2,000 random and mutated requests", "no INTERNAL, no UNKNOWN, server serving, memory back"
)


async def _fuzz(report: Report) -> None:
    report.row(FUZZ, "not run here: `.venv/bin/python -m pytest -m long tests/chaos/test_chaos_fuzz.py`")


def measurements(part: str, *, demo: bool) -> Sequence[Measurement]:
    """Returns the measurements of a part that concerns the whole cluster."""
    if part == "house":
        return [*THROUGHPUT, *HEARING, *starts(demo=demo)]
    return [KILLING, *STORMING, *OUTAGES, *REPLICATION, AFTERMATH, Measurement((FUZZ,), _fuzz, 1)]


def main() -> int:
    """Measures and prints; the exit code is 1 if a row could not be measured."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measures the cluster.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (all by default) and {SOAK}")
    parser.add_argument("--only", default="", help="measure only rows of house and reliability that contain this text")
    parser.add_argument("--no-demo", action="store_true", help="do not time `make demo`, which installs packages")
    parser.add_argument("--minutes", type=float, default=30.0, help="duration of the soak (default: 30)")
    given = parser.parse_args()
    if unknown := set(given.parts) - {*PARTS, SOAK}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)} and {SOAK}")
    parts = given.parts or (PARTS[:2] if given.only else PARTS)
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}; {LIFTED_NOTE}, unless a row says otherwise.")
    failed, rows = False, 0
    for part in parts:
        print(f"\n{part}:\n", flush=True)
        if part in {*ALONE, SOAK}:
            command = [sys.executable, "-m", f"benchmarks.{part}", *([str(given.minutes)] if part == SOAK else [])]
            failed |= bool(subprocess.run(command, check=False).returncode)
        else:
            table = Table(given.only)
            asyncio.run(table.measure(measurements(part, demo=not given.no_demo)))
            print(f"\n{table.summary}", flush=True)
            failed, rows = failed or bool(table.failed), rows + table.rows
    if given.only and not rows:
        parser.error(f"no row contains {given.only!r}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
