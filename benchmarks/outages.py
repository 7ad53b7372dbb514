"""Rows about providers that refuse for good, and about providers and storage that are down for a while."""

import asyncio
from contextlib import aclosing, suppress
from typing import Any, Final

from benchmarks.table import Line, Measurement, Report
from standins.callers import SEEDS
from standins.houses import house
from standins.watcher import spec
from standins.weather import MODEL_WINDOW, VOICE_WINDOW, outage, storage_away
from tale.common.v1 import common_pb2
from tale_client import AsyncTaleClient

_MINUTE: Final[dict[str, Any]] = {"words": 150, "events": 15}
CODES: Final = ("400", "401", "402", "404", "422")
_TRANSIENT: Final = {
    "UPSTREAM_UNAVAILABLE",
    "CIRCUIT_OPEN",
    "NO_PROVIDERS_AVAILABLE",
    "NETWORK_ERROR",
    "AUDIO_GENERATION_FAILED",
    "FALLBACK_FAILURE",
}
"""Reasons that say that another try may succeed: no cause that lasts."""
_REFUSED_SECONDS: Final = 15.0

_STORIES: Final = 20
"""Stories to write, and as many to narrate."""
_AFTERWARDS_SECONDS: Final = 150.0
_AWAY_SECONDS: Final = 60.0

REFUSED: Final = Line(
    "a provider that refuses for good (400, 401, 402, 404, 422)",
    'exactly 1 call, the first cause reported, no "try again"',
)
DOWN, DOWN_A_MINUTE = (
    Line(
        f"all providers down for {minutes}, {_STORIES} stories to write and {_STORIES} to narrate",
        "no more than one probe per window; all READY after it returns",
    )
    for minutes in ("5 minutes", "70 seconds")
)
STORAGE_AWAY: Final = Line(
    f"storage gone for {_AWAY_SECONDS:.0f} s under {_STORIES} stories", "all READY; every text and segment made once"
)


async def _refused(report: Report) -> None:
    """Starts a new service for each code: after an earlier refusal it may not call the provider."""
    found, all_right = [], True
    async with house() as it, AsyncTaleClient(it.cluster.target) as client:
        for service, call in (("story", "writing"), ("voice", "speaking")):
            for code in CODES:
                await it.cluster.kill(service)
                await it.cluster.start(service)
                await it.script(**_MINUTE, fault_rate=1.0, faults=[code], fault_on=[call])
                story = await _told(client)
                journal = await it.upstreams.journal()
                calls = len(journal["told" if call == "writing" else "spoken"])
                reason = story.problems[0].reason if story.problems else f"no reason within {_REFUSED_SECONDS:g} s"
                hopeful = any("try again" in str(problem).casefold() for problem in story.problems)
                found.append(f"{call} {code}: {calls} call{'s' * (calls != 1)}, {reason}{', try again' * hopeful}")
                all_right &= calls == 1 and bool(story.problems) and reason not in _TRANSIENT and not hopeful
            await it.cluster.kill(service)
            await it.cluster.start(service)
    report.row(REFUSED, "; ".join(found), met=all_right)


async def _told(client: AsyncTaleClient) -> common_pb2.Story:
    """Returns a story as it ended; an empty one if it takes too long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_REFUSED_SECONDS), aclosing(client.tell(spec(next(SEEDS)))) as events:
            async for event in events:
                if event.WhichOneof("event") == "done":
                    return event.done.story
    return common_pb2.Story()


def _down(line: Line, seconds: float) -> Measurement:
    async def measure(report: Report) -> None:
        it = await outage(stories=_STORIES, down_seconds=seconds, seconds=_AFTERWARDS_SECONDS)
        facts, probes = it.facts, (it.most_model_calls, it.most_voice_calls)
        report.row(
            line,
            f"{facts.listed}, the last {it.back_after:.0f} s after the return; {len(it.model_calls)} calls to models,"
            f" at most {probes[0]} in a window of {MODEL_WINDOW:g} s after the first seconds; {len(it.voice_calls)} to"
            f" voices, at most {probes[1]} in a window of {VOICE_WINDOW:g} s; {facts.wrong} wrong,"
            f" {facts.doubled} made twice, {facts.started} attempts STARTED",
            met=facts.all_ready and facts.is_sound and max(probes) <= 1,
        )

    return Measurement((line,), measure, seconds + _AFTERWARDS_SECONDS + 60)


async def _storage_away(report: Report) -> None:
    facts = await storage_away(stories=_STORIES, away_seconds=_AWAY_SECONDS, seconds=_AFTERWARDS_SECONDS)
    report.row(
        STORAGE_AWAY,
        f"{facts.listed} in {facts.wall:.0f} s; {facts.paid_twice} texts and segments made twice, {facts.calls} calls"
        f" for {facts.needed} needed; {facts.wrong} wrong, {facts.started} attempts STARTED",
        met=facts.all_ready and facts.is_sound and not facts.paid_twice,
    )


OUTAGES: Final = (
    Measurement((REFUSED,), _refused, 300),
    _down(DOWN_A_MINUTE, 70.0),
    _down(DOWN, 300.0),
    Measurement((STORAGE_AWAY,), _storage_away, _AWAY_SECONDS + _AFTERWARDS_SECONDS + 60),
)
