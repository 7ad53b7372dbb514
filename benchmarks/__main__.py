"""Prints the table of what was measured: `make bench`.

The upstreams are stand-ins: the embedded writer at a set pace, the mock voice (valid MP3 of the length that its text
needs) with set latency. Load generator, stand-ins and cluster share one machine. Everything is durable
(STORAGE_SYNC=normal).
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.processes import MODULES, Cluster, cluster

from benchmarks.hearing import hear, read_rate
from benchmarks.load import Load, load

OPEN = {"DEFAULT_VOICE_PROVIDER": "mock", "VOICE_CONCURRENCY": "256", "LOG_LEVEL": "WARNING"}
# 750 words in 0.2 s, and 0.2 s before each segment's first byte.
QUARTER = {**OPEN, "STORY_OFFLINE_WORDS_PER_SECOND": "3750", "VOICE_MOCK_SCRIPT": '{"first_byte_seconds": 0.2}'}
# 60 tokens (45 words) a second; a voice five times faster than speech after 0.4 s.
REAL = {
    **OPEN,
    "STORY_OFFLINE_WORDS_PER_SECOND": "45",
    "VOICE_MOCK_SCRIPT": json.dumps({"first_byte_seconds": 0.4, "realtime_factor": 5}),
}


@asynccontextmanager
async def fresh(**environment: str) -> AsyncIterator[Cluster]:
    """A cluster over an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        async with cluster(Path(folder), **environment) as it:
            yield it


def row(what: str, target: str, measured: str) -> None:
    """One line of the table."""
    print(f"| {what} | {target} | {measured} |", flush=True)


def show(what: str, target: str, result: Load) -> None:
    """A row for a load, and what it cost."""
    costs = ", ".join(f"{name} {result.cpu_ms[name]:.0f}" for name in MODULES)
    peaks = ", ".join(f"{name} {result.peak_mb[name]:.0f}" for name in MODULES)
    row(
        what,
        target,
        f"{result.rate:.1f} stories/s, p50 {result.percentile(50):.2f} s, p95 {result.percentile(95):.2f} s;"
        f" CPU ms a story: {costs}; peak MB: {peaks}",
    )


async def main() -> None:
    """Measures and prints."""
    print("| what | target | measured |\n|---|---|---|")
    async with fresh(**OPEN) as it:
        await load(it, stories=3, at_once=1)
        alone = await load(it, stories=20, at_once=1)
        row(
            "added by the system to a narrated five-minute story, one at a time, upstreams at 0 ms",
            "<= 60 ms median",
            f"{statistics.median(alone.times) * 1000:.0f} ms",
        )
        heard = await hear(it)
        row("ReadStoryAudio through gateway and storage", ">= 150 MiB/s", f"{await read_rate(it, heard.story_id):.0f}")
    async with fresh(**QUARTER) as it:
        await load(it, stories=8, at_once=8)
        show(
            "32 at a time, upstreams at 200 ms, 4.8 MB audio", ">= 10, goal 30", await load(it, stories=96, at_once=32)
        )
        show("the same, 128 at a time", "not lower than at 32; < 200 MB", await load(it, stories=256, at_once=128))
        plain = await load(it, stories=320, at_once=32, narrate=False)
        show("32 at a time without narration", ">= 60", plain)
    async with fresh(**REAL) as it:
        heard = await hear(it)
        # The limit: the voice's first byte after 0.4 s, then the title spoken whole, five times faster than it sounds.
        limit = 0.4 + heard.title_sound / 5
        row(
            "first audio byte at the caller, from the title on",
            f"<= the limit ({limit:.2f} s) + 0.3 s",
            f"{heard.first_audio - heard.title:.2f} s",
        )
        row(
            "whole narrated story after its last sentence",
            "the last segment's voice time + 1 s",
            f"{heard.done - heard.text_whole:.1f} s (written in {heard.text_whole:.1f} s)",
        )
    began = time.perf_counter()
    async with fresh(LOG_LEVEL="WARNING") as it:
        up = time.perf_counter() - began
        heard = await hear(it)
        row(
            "five-minute story, everything embedded, cold start included",
            "< 10 s",
            f"{up + heard.done:.1f} s (start {up:.1f} s, first sound {heard.first_audio:.2f} s after the call)",
        )


if __name__ == "__main__":
    asyncio.run(main())
