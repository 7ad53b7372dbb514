"""Rows about starts: of each service, of a cluster without keys, on a new machine."""

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.hearing import hearing, tell
from benchmarks.recordings import store_recordings
from benchmarks.table import Line, Measurement, Report
from standins.paid_upstreams import ROOT, paid_upstreams
from standins.processes import MODULES, Cluster, cluster

STARTS: Final = 3
RECORDINGS: Final = 2_000

COLD: Final = Line("five-minute story, no key, cold start of the cluster included, neural voice", "< 8 s")
DEMO: Final = Line(
    "first `make demo` on a fresh machine",
    "< 30 s with a warm package mirror (uv: the same lock took 3 s where pip took 55 s)",
)
SERVING: Final = Line("start of a service to SERVING", "< 1 s, independent of how many recordings are stored")
TESTS: Final = Line("`make test`", "< 180 s on a quiet machine, and green under a load of 4")


async def _serving(report: Report) -> None:
    """Starts with keys, so that the SDKs are loaded too."""
    async with paid_upstreams() as upstreams:
        with tempfile.TemporaryDirectory() as folder:
            it = Cluster(Path(folder), {**upstreams.environment, "LOG_LEVEL": "WARNING"})
            try:
                medians = {name: await _median_start(it, name) for name in MODULES}
                await it.start("storage")
                async with it.channel("storage") as channel:
                    await store_recordings(channel, RECORDINGS)
                await it.terminate("storage")
                full = await _median_start(it, "storage")
            finally:
                await it.close()
    empty = ", ".join(f"{name} {seconds:.2f}" for name, seconds in medians.items())
    report.row(
        SERVING,
        f"median of {STARTS}, in s: {empty}; storage with {RECORDINGS:,} recordings {full:.2f}",
        met=max(*medians.values(), full) < 1,
    )


async def _median_start(it: Cluster, name: str) -> float:
    times = []
    for _ in range(STARTS):
        began = time.perf_counter()
        await it.start(name)
        times.append(time.perf_counter() - began)
        await it.kill(name)
    return statistics.median(times)


async def _cold(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        async with cluster(Path(folder), LOG_LEVEL="WARNING") as it, it.channel() as channel:
            up = time.perf_counter() - began
            listener = hearing(time.perf_counter())
            await tell(channel, listener)
    audio = listener.story.audio if listener.story else None
    voice = "" if audio is None else f"{audio.provider} {audio.voice_id} {audio.model_id}".strip()
    taken = up + listener.done
    report.row(
        COLD,
        f"{taken:.1f} s (start {up:.1f} s, first sound {listener.first_audio:.2f} s after the call,"
        f" {listener.heard:.0f} s of sound, voice: {voice})",
        met=taken < 8 and listener.complete,
    )


async def _demo(report: Report) -> None:
    """Runs in a copy of the working tree without a virtual environment."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        await asyncio.to_thread(shutil.copytree, ROOT, copy, ignore=_not_in_a_fresh_tree)
        environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            "make",
            f"PYTHON={sys._base_executable}",  # type: ignore[attr-defined]
            "demo",
            cwd=copy,
            env=environment | {"TALE_DATA_DIR": str(Path(folder) / "data")},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, 9)
                await process.wait()
        taken = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"`make demo` ended with {process.returncode}: {output.decode()[-300:]}")
    report.row(DEMO, f"{taken:.0f} s", met=taken < 30)


async def _demo_not_run(report: Report) -> None:
    report.row(DEMO, "not run (--no-demo)")


async def _tests(report: Report) -> None:
    report.row(TESTS, "not run here: `time make test`, alone and beside `stress --cpu 4` or another load of 4")


def _not_in_a_fresh_tree(folder: str, names: list[str]) -> set[str]:
    """Returns the files that neither a clone nor an unpacked archive has."""
    del folder
    made = {"__pycache__", "node_modules", "data", "out", "site-packages"}
    return {name for name in names if name in made or (name.startswith(".") and name not in {".gitignore", ".npmrc"})}


def starts(*, demo: bool) -> tuple[Measurement, ...]:
    """Returns the measurements; `demo`: whether packages may be installed."""
    return (
        Measurement((COLD,), _cold, 60),
        Measurement((DEMO,), _demo if demo else _demo_not_run, 300),
        Measurement((SERVING,), _serving, 120),
        Measurement((TESTS,), _tests, 1),
    )
