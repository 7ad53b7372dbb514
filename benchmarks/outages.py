"""Rows about providers that refuse for good, or are down for a while."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import aclosing, suppress
from itertools import pairwise
from typing import Any, Final

from benchmarks.houses import house
from benchmarks.load import READY, SEEDS, named_end
from benchmarks.table import Line, Measurement, Report
from standins.watcher import spec
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

DOWN_SECONDS: Final = 60.0
_VOICE_WINDOW: Final = 6.0
_MODEL_WINDOW: Final = 60.0
"""Seconds for which a circuit stays open at first. The voice's default of 30 s is scaled as the outage is; that of the
models has no setting."""
_WAITING: Final = 4
"""Stories of each kind that wait for a provider."""
_AFTERWARDS_SECONDS: Final = 120.0

REFUSED: Final = Line(
    "a provider that refuses for good (400, 401, 402, 404, 422)",
    'exactly 1 call, the first cause reported, no "try again"',
)
DOWN: Final = Line(
    "a provider down for 5 minutes (here 1 minute, the voice's circuit windows scaled to a fifth)",
    "no more than one probe per window; stories that wait finish after it returns",
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


async def _down(report: Report) -> None:
    settings = {"VOICE_BREAKER_SECONDS": f"{_VOICE_WINDOW:g}"}
    async with house(settings, **_MINUTE) as it, AsyncTaleClient(it.cluster.target) as client:
        written = [await _written(client) for _ in range(_WAITING)]
        await it.script(**_MINUTE, down=True)
        began = time.time()
        narrating = [await client.narrate_story(story_id) for story_id in written]
        writing = [await client.create_story(spec(next(SEEDS))) for _ in range(_WAITING)]
        await asyncio.sleep(DOWN_SECONDS - (time.time() - began))
        away = (await it.upstreams.journal())["turned_away"]
        await it.upstreams.script(**_MINUTE)
        ends = await _ends(client, [story.id for story in [*narrating, *writing]])
    models = [call["time"] - began for call in away if call["path"].startswith("/api/")]
    voices = [call["time"] - began for call in away if not call["path"].startswith("/api/")]
    most = [_most_in_a_window(models, _MODEL_WINDOW), _most_in_a_window(voices, _VOICE_WINDOW)]
    report.row(
        DOWN,
        f"models: {len(models)} requests, at most {most[0]} in a window of {_MODEL_WINDOW:g} s after the first seconds;"
        f" voices: {len(voices)} requests, at most {most[1]} in a window of {_VOICE_WINDOW:g} s; of {2 * _WAITING}"
        f" stories {', '.join(f'{count} {end}' for end, count in ends.items())}",
        met=max(most) <= 1 and ends[READY] == 2 * _WAITING,
    )


async def _written(client: AsyncTaleClient) -> str:
    """Returns a story that is READY without narration."""
    async for event in client.tell(spec(next(SEEDS), narrate=False)):
        story_id = event.story_id
    return story_id


async def _ends(client: AsyncTaleClient, story_ids: Iterable[str]) -> Counter[str]:
    """Returns the state of the stories when they ended or the time was over."""

    async def end(story_id: str) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(_AFTERWARDS_SECONDS):
                async for event in client.watch(story_id):
                    if event.WhichOneof("event") == "done":
                        return named_end(event.done.story)
        return f"unfinished: {named_end(await client.get_story(story_id))}"

    return Counter(await asyncio.gather(*(end(story_id) for story_id in story_ids)))


def _most_in_a_window(times: list[float], window: float) -> int:
    """Returns the maximum number of requests within one window, without those that found the provider down.

    These are the requests until the first pause of half a window.
    """
    late = [now for before, now in pairwise(times) if now - before > window / 2]
    probes = [now for now in times if late and now >= late[0]]
    return max((sum(now <= each < now + 0.9 * window for each in probes) for now in probes), default=0)


OUTAGES: Final = (
    Measurement((REFUSED,), _refused, 300),
    Measurement((DOWN,), _down, DOWN_SECONDS + _AFTERWARDS_SECONDS + 60),
)
