"""Rows about many stories at a time."""

import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.hearing import hear, read_rate
from benchmarks.load import Load, load
from benchmarks.table import Table
from standins.paid_upstreams import PaidUpstreams
from standins.processes import Cluster, cluster

OPEN: Final = {
    "STORY_CONCURRENCY": "256",
    "VOICE_CONCURRENCY": "256",
    "VOICE_PAID_CONCURRENCY": "256",
    "LOG_LEVEL": "WARNING",
}
"""The limits on calls to the outside are lifted: they are for the plans of providers and not for this machine."""
QUICK: Final = {"writing": 0.2, "first_byte": 0.2}
"""A story's text comes as 75 events within 0.2 s; 0.2 s pass before each segment's first byte."""
SLOW: Final = {"writing": 5.0, "first_byte": 0.2}


@asynccontextmanager
async def paid_cluster(upstreams: PaidUpstreams, **script: Any) -> AsyncIterator[Cluster]:
    """A cluster over an empty folder and the stand-ins, with everything loaded."""
    with tempfile.TemporaryDirectory() as folder:
        async with cluster(Path(folder), **OPEN, **upstreams.environment) as it:
            await upstreams.script()
            await load(it, stories=3, at_once=3, minutes=1)
            await upstreams.script(**script)
            await upstreams.forget()
            yield it


async def one_at_a_time(table: Table, upstreams: PaidUpstreams) -> None:
    """What the system itself adds, and how fast audio is read."""
    async with paid_cluster(upstreams) as it:
        alone = await load(it, stories=20, at_once=1)
        table.row(
            "added by the system to a narrated five-minute story, one at a time, upstreams at 0 ms, all steps durable",
            "<= 60 ms median",
            f"{statistics.median(alone.times) * 1000:.0f} ms median, the stand-ins' own time in it; {alone.costs}",
        )
        heard = await hear(it)
        rate = await read_rate(it, heard.story_id)
        table.row("ReadStoryAudio through gateway and storage", ">= 150 MiB/s", f"{rate:.0f} MiB/s")


async def many_at_a_time(table: Table, upstreams: PaidUpstreams) -> float:
    """Rates at 32 and 128; the latter is returned, in stories a second."""
    others = {"stand-ins": upstreams.pid}
    async with paid_cluster(upstreams, **QUICK) as it:
        result = await load(it, stories=96, at_once=32, others=others)
        journal = await upstreams.journal()
        size = sum(call["bytes"] for call in journal["spoken"]) / result.stories / 1e6
        spread = result.percentile(95) / result.percentile(50)
        table.row(
            "stories/s, 32 at a time, upstreams at 200 ms, everything durable",
            ">= 10, goal 30; p95 <= 1.5 x p50",
            f"{_rate(result)} (p95 = {spread:.2f} x p50), {size:.1f} MB of audio each; {result.costs}",
        )
        plain = await load(it, stories=320, at_once=32, narrate=False, others=others)
        table.row("the same without narration", ">= 60", f"{_rate(plain)}; {plain.costs}")
    async with paid_cluster(upstreams, **QUICK) as it:
        wide = await load(it, stories=256, at_once=128, others=others)
        verdict = f"{wide.rate / result.rate:.2f} x that at 32"
        table.row("stories/s, 128 at a time", "not lower than at 32", f"{_rate(wide)}, {verdict}; {wide.costs}")
        table.row("memory at 128 at a time, five minutes of audio each", "each < 200 MB", wide.peaks)
    async with paid_cluster(upstreams, words=150, events=15, **QUICK) as it:
        short = await load(it, stories=256, at_once=128, minutes=1)
        table.row("memory at 128 at a time, one minute of audio each", "as with five minutes", short.peaks)
    return wide.rate


async def thousand_in_flight(table: Table, upstreams: PaidUpstreams, rate: float) -> None:
    """A thousand stories at the same time, whose text takes five seconds."""
    limit = 1.3 * max(5.0, 1000 / rate) if rate else float("nan")
    async with paid_cluster(upstreams, **SLOW) as it:
        result = await load(it, stories=1000, at_once=1000)
        table.row(
            "1,000 stories in flight, their text taking 5 s each",
            f"all succeed, wall <= 1.3 x max(5 s, 1000 / rate at 128) = {limit:.0f} s",
            f"all {result.stories} READY in {result.wall:.0f} s; {result.peaks}",
        )


def _rate(result: Load) -> str:
    return f"{result.rate:.1f}/s, p50 {result.percentile(50):.2f} s, p95 {result.percentile(95):.2f} s"
