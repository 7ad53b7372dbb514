"""Row about what successful stories leave behind: cancelled calls, warnings, attempts that never ended."""

import asyncio
from collections import Counter
from typing import Final

from benchmarks.metrics import call_codes, loud_events
from benchmarks.table import Line, Measurement, Report
from standins.callers import SEEDS
from standins.houses import LIFTED, House, house
from standins.processes import MODULES
from standins.watcher import spec
from tale.common.v1 import common_pb2
from tale_client import AsyncTaleClient

STORIES: Final = 100
_AT_ONCE: Final = 16

AFTER: Final = Line(
    f"after {STORIES} good stories", "0 CANCELLED calls, 0 warnings, 0 attempts in state STARTED anywhere"
)


async def _after(report: Report) -> None:
    async with house(LIFTED, words=150, events=15, writing=0.2, first_byte=0.05) as it:
        logs = {name: len(it.cluster.log(name)) for name in MODULES}
        codes = await _codes(it)
        async with AsyncTaleClient(it.cluster.target) as client:
            places = asyncio.Semaphore(_AT_ONCE)

            async def one() -> common_pb2.Story:
                async with places:
                    story_id = ""
                    async for event in client.tell(spec(next(SEEDS)), include_audio=True):
                        story_id = event.story_id
                    return await client.get_story(story_id, full=True)

            stories = await asyncio.gather(*(one() for _ in range(STORIES)))
        # A call that the gateway drops is counted by its server a moment later.
        await asyncio.sleep(1)
        ended = await _codes(it) - codes
        loud: Counter[str] = Counter()
        for name in MODULES:
            log = await asyncio.to_thread(it.cluster.log, name)
            loud += loud_events(log[logs[name] :])
    started = sum(
        attempt.outcome == common_pb2.ATTEMPT_OUTCOME_STARTED for story in stories for attempt in story.attempts
    )
    ready = sum(story.state == common_pb2.STORY_STATE_READY for story in stories)
    problems = Counter(problem.reason for story in stories for problem in story.problems)
    bad = Counter({key: count for key, count in ended.items() if not key.endswith(" OK")})
    report.row(
        AFTER,
        f"{ready} READY; of {ended.total()} calls not OK: {_listed(bad)}; logged: {_listed(loud)};"
        f" problems: {_listed(problems)}; attempts STARTED: {started}",
        met=ready == STORIES and not bad and not loud and not problems and not started,
    )


async def _codes(it: House) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name in MODULES:
        of_one = await call_codes(it.cluster.address(name).ops)
        counts += Counter({f"{name}.{key}": count for key, count in of_one.items()})
    return counts


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.most_common(6)) or "none"


AFTERMATH: Final = Measurement((AFTER,), _after, 90)
