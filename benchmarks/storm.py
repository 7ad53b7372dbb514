"""Rows about upstreams that fail a fifth of all calls."""

from typing import Final

from benchmarks.table import Line, Measurement, Report
from standins.callers import Facts
from standins.houses import LIFTED, LIFTED_NOTE
from standins.weather import storm

STORIES: Final = 500
_SECONDS: Final = 240.0

STORM: Final = Line(
    f"20 % of upstream calls failing (500, 429, cut, malformed, stall), {STORIES} stories at once",
    "0 lost, 0 wrong successes, 0 duplicates; upstream calls <= 1.35 per needed call; median <= 3 x that without",
)
STORM_DEFAULTS: Final = Line(
    "the same with the limits of outgoing calls at their defaults, 100 stories at once", STORM.target
)


async def _storm(report: Report) -> None:
    calm, stormy = await storm(stories=STORIES, seconds=_SECONDS, settings=LIFTED)
    report.row(STORM, f"{stormed(calm, stormy)}; {LIFTED_NOTE}", met=is_met(calm, stormy))


async def _storm_with_defaults(report: Report) -> None:
    calm, stormy = await storm(stories=100, seconds=_SECONDS)
    report.row(STORM_DEFAULTS, stormed(calm, stormy), met=is_met(calm, stormy))


def stormed(calm: Facts, stormy: Facts) -> str:
    """Returns what became of the stories, compared with those without faults."""
    return (
        f"{stormy.listed} in {stormy.wall:.0f} s, without faults {calm.listed} in {calm.wall:.0f} s; a story takes"
        f" {stormy.median:.1f} s in the median ({stormy.median / calm.median:.1f} x {calm.median:.1f} s) and"
        f" {stormy.slowest:.0f} s at most; {stormy.wrong} wrong, {stormy.doubled} made twice,"
        f" {stormy.paid_twice} calls repeated after a whole answer; {stormy.calls} calls for {stormy.needed} needed:"
        f" {stormy.calls / stormy.needed:.2f} ({stormy.failed} failed); {stormy.attempts} attempts in the ledgers,"
        f" {stormy.started} STARTED"
    )


def is_met(calm: Facts, stormy: Facts) -> bool:
    """Returns whether the target is reached."""
    return (
        stormy.all_ready
        and stormy.is_sound
        and stormy.calls <= 1.35 * stormy.needed
        and stormy.median <= 3 * calm.median
    )


STORMING: Final = (
    Measurement((STORM,), _storm, 3 * _SECONDS),
    Measurement((STORM_DEFAULTS,), _storm_with_defaults, 3 * _SECONDS),
)
