"""Rows about many stories at once."""

import math
import statistics
from typing import Any, Final

from benchmarks.load import Load, load
from benchmarks.table import Line, Measurement, Report
from standins.callers import Facts
from standins.houses import LIFTED, LIFTED_NOTE, House, house

QUICK: Final[dict[str, Any]] = {"writing": 0.2, "first_byte": 0.2}
"""A story's text comes as 75 events within 0.2 s; 0.2 s pass before each segment's first byte."""
MINUTE: Final[dict[str, Any]] = {"words": 150, "events": 15}

CPU: Final = Line(
    "CPU ms a narrated five-minute story with word timings, four processes together, everything durable",
    "<= 160; goal 110, half of a comparable system",
)
AT_32: Final = Line(
    "stories/s, 32 at a time, narrated",
    ">= 2.5 x the 3.3 of before on the same machine (1.4 x a comparable system); goal 2 x it; p95 <= 1.5 x p50",
)
AT_128: Final = Line("stories/s, 128 at a time", "not lower than at 32")
SILENT: Final = Line("the same without narration", ">= 35, CPU <= 45 ms a story")
THOUSAND: Final = Line(
    "1,000 stories in flight, upstreams taking 5 s, default limits",
    "all READY; wall time <= 1.3 x max(5 s, 1000 / the rate above)",
)
THOUSAND_DEFAULTS: Final = Line(
    "1,000 one-minute stories in flight, upstreams taking 5 s, limits of outgoing calls at their defaults too",
    "all READY; wall time <= 1.3 x max(5 s, 1000 / the rate at 32 at a time)",
)
QUEUE: Final = Line(
    "300 one-minute stories at once, 5 voice calls at a time that are 20 times faster than speech",
    "all READY, in the order of their acceptance from the first seconds on",
)
ADDED: Final = Line(
    "added by the system to a story, one at a time, upstreams at 0 ms",
    "<= 150 ms median",
)
MEMORY: Final = Line(
    "memory of any process, 128 at a time, 4.8 MB of audio each",
    "< 200 MB, flat in audio size",
)
_BEFORE: Final = 3.3
"""Stories/s at 32 at a time that the target is relative to."""
_FLAT_MB: Final = 20
"""How much more a process may take for audio that is five times as long, before that counts as growth."""


async def _narrated(report: Report) -> None:
    """Runs 32 at a time, then 128 in a new cluster, then the same with stories of one minute."""
    narrow = None
    if report.wants(CPU, AT_32, AT_128):
        async with house(LIFTED, **QUICK) as it:
            narrow = await _load(it, stories=96, at_once=32)
            journal = await it.upstreams.journal()
        size = sum(call["bytes"] for call in journal["spoken"]) / narrow.stories / 1e6
        report.row(
            CPU,
            f"{narrow.cluster_cpu_ms:.0f} ms at {size:.1f} MB of audio; {narrow.costs}",
            met=narrow.all_ready and narrow.cluster_cpu_ms <= 160,
        )
        report.row(
            AT_32,
            f"{narrow.rates}; {narrow.rate / _BEFORE:.1f} x before, p95 = {narrow.spread:.2f} x p50; {narrow.costs}",
            met=narrow.all_ready and narrow.rate >= 2.5 * _BEFORE and narrow.spread <= 1.5,
        )
    if not report.wants(AT_128, MEMORY):
        return
    async with house(LIFTED, **QUICK) as it:
        wide = await _load(it, stories=256, at_once=128)
    if narrow is not None:
        report.row(
            AT_128,
            f"{wide.rates}, {wide.rate / narrow.rate:.2f} x that at 32; {wide.costs}",
            met=wide.all_ready and wide.rate >= narrow.rate,
        )
    if report.wants(MEMORY):
        async with house(LIFTED, **MINUTE, **QUICK) as it:
            short = await _load(it, stories=256, at_once=128, minutes=1)
        grown = max(wide.peak_mb[name] - short.peak_mb[name] for name in wide.peak_mb)
        report.row(
            MEMORY,
            f"peak MB: {wide.peaks}; with a fifth of the audio: {short.peaks}; at most {grown:+.0f} MB for the rest",
            met=wide.all_ready and max(wide.peak_mb.values()) < 200 and grown < _FLAT_MB,
        )


async def _silent(report: Report) -> None:
    async with house(LIFTED, **QUICK) as it:
        plain = await _load(it, stories=320, at_once=32, narrate=False)
    report.row(
        SILENT,
        f"{plain.rates}; {plain.cluster_cpu_ms:.0f} ms of CPU a story; {plain.costs}",
        met=plain.all_ready and plain.rate >= 35 and plain.cluster_cpu_ms <= 45,
    )


async def _one_at_a_time(report: Report) -> None:
    async with house(LIFTED) as it:
        alone = (await _load(it, stories=20, at_once=1)).whole()
    added = statistics.median(alone.times) * 1000
    report.row(
        ADDED,
        f"{added:.0f} ms median, the upstreams' own time in it (they share the machine); {alone.costs}",
        met=added <= 150,
    )


async def _thousand(report: Report) -> None:
    """Measures the rate in the same cluster first."""
    async with house(LIFTED, **QUICK) as it:
        rate = (await _load(it, stories=96, at_once=32)).rate
        await it.script(writing=5.0, first_byte=0.2)
        limit = 1.3 * max(5.0, 1000 / rate)
        many = await _load(it, stories=1000, at_once=1000, seconds=2 * limit)
    report.row(
        THOUSAND,
        f"{many.all_ends} in {many.wall:.0f} s; the limit is {limit:.0f} s at {rate:.1f}/s; {LIFTED_NOTE};"
        f" peak MB: {many.peaks}; {many.costs}",
        met=many.all_ready and many.wall <= limit,
    )


async def _thousand_with_defaults(report: Report) -> None:
    async with house(**MINUTE, **QUICK) as it:
        rate = (await _load(it, stories=96, at_once=32, minutes=1)).rate
        many = await it.crowd(1000, 400, **MINUTE, writing=5.0, first_byte=0.2)
    limit = 1.3 * max(5.0, 1000 / rate)
    report.row(
        THOUSAND_DEFAULTS,
        f"{many.listed} in {many.wall:.0f} s; the limit is {limit:.0f} s at {rate:.1f}/s; {arrived(many)}",
        met=many.all_ready and many.wall <= limit,
    )


async def _queue(report: Report) -> None:
    async with house(**MINUTE) as it:
        many = await it.crowd(300, 600, **MINUTE, first_token=0.5, writing=2.0, first_byte=0.3, spread=0.33, pace=20.0)
    report.row(QUEUE, f"{many.listed} in {many.wall:.0f} s; {arrived(many)}", met=many.all_ready)


def arrived(many: Facts) -> str:
    """Returns when the stories became READY, and how far their order was changed."""
    times = many.arrivals or [math.inf]
    return (
        f"READY after {times[0]:.1f} s the first, {times[min(9, len(times) - 1)]:.1f} s the tenth,"
        f" {times[len(times) // 2]:.0f} s half of them; one was overtaken by {many.displaced} at most"
    )


async def _load(
    it: House, *, stories: int, at_once: int, minutes: int = 5, narrate: bool = True, seconds: float = 3600
) -> Load:
    return await load(
        it.cluster,
        stories=stories,
        at_once=at_once,
        minutes=minutes,
        narrate=narrate,
        seconds=seconds,
        others={"stand-ins": it.upstreams.pid},
    )


THROUGHPUT: Final = (
    Measurement((CPU, AT_32, AT_128, MEMORY), _narrated, 300),
    Measurement((SILENT,), _silent, 120),
    Measurement((THOUSAND,), _thousand, 700),
    Measurement((THOUSAND_DEFAULTS,), _thousand_with_defaults, 500),
    Measurement((QUEUE,), _queue, 700),
    Measurement((ADDED,), _one_at_a_time, 120),
)
