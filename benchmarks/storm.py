"""Row about upstreams that fail a fifth of all calls."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

from benchmarks.houses import house
from benchmarks.load import READY, SEEDS, named_end
from benchmarks.table import Line, Measurement, Report
from standins.made_up import made_up_speech, made_up_story
from standins.paid_upstreams import FALLBACK_MODEL
from standins.watcher import spec
from tale.common.v1 import common_pb2
from tale_client import AsyncTaleClient, TaleError

STORIES: Final = 500
_AT_ONCE: Final = 32
_SECONDS: Final = 240.0
_WORDS: Final = 150
_SETTINGS: Final = {
    "STORY_FALLBACK_MODELS": FALLBACK_MODEL,
    "STORY_RETRY_DELAY": "0.05",
    "STORY_FIRST_TOKEN_TIMEOUT_SECONDS": "5",
    "STORY_IDLE_TIMEOUT_SECONDS": "1",
    "VOICE_FIRST_BYTE_SECONDS": "5",
    "VOICE_SEGMENT_SECONDS": "6",
    "VOICE_BREAKER_SECONDS": "0.25",
    "VOICE_PAID_CONCURRENCY": "16",
}
"""Waits and timeouts are scaled down, so that stalled streams do not make this take an hour."""

STORM: Final = Line(
    f"20 % of upstream calls failing (500, 429, cut, malformed, stall), {STORIES} stories",
    "0 lost, 0 wrong successes, 0 duplicates; upstream calls <= 1.35 per needed call",
)


async def _storm(report: Report) -> None:
    seeds = [next(SEEDS) for _ in range(STORIES)]
    script: dict[str, Any] = {"words": _WORDS, "events": 15, "distinct": True, "fault_rate": 0.2, "seed": 2}
    async with house(_SETTINGS, warm=False, **script) as it, AsyncTaleClient(it.cluster.target) as client:
        began = time.perf_counter()
        stories, errors = await _tell_all(client, seeds)
        taken = time.perf_counter() - began
        journal = await it.upstreams.journal()
        stored = [summary.id async for summary in client.list_stories()]
    asked = {" ".join(call["text"].split()): call["text"] for call in journal["spoken"]}
    ends = Counter(named_end(story) for story in stories.values()) + errors
    ends["unfinished"] = STORIES - ends.total()
    wrong = sum(named_end(story) == READY and not is_right(story, seed, asked) for seed, story in stories.items())
    doubled = max(0, len(set(stored)) - STORIES)
    calls, needed = len(journal["told"]) + len(journal["spoken"]), STORIES + len(asked)
    struck = Counter(call["fault"] for call in [*journal["told"], *journal["spoken"]] if call["fault"])
    report.row(
        STORM,
        f"{', '.join(f'{count} {end}' for end, count in ends.most_common(6) if count)} in {taken:.0f} s; {wrong} wrong,"
        f" {doubled} made twice; {calls} calls for {needed} needed: {calls / needed:.2f} ({struck.total()} failed);"
        " waits, timeouts and circuit windows scaled down",
        met=ends[READY] == STORIES and not wrong and not doubled and calls <= 1.35 * needed,
    )


async def _tell_all(
    client: AsyncTaleClient, seeds: Sequence[int]
) -> tuple[Mapping[int, common_pb2.Story], Counter[str]]:
    """Returns the stories that ended, by their seed, and the errors of the client."""
    places, stories, errors = asyncio.Semaphore(_AT_ONCE), dict[int, common_pb2.Story](), Counter[str]()

    async def one(seed: int) -> None:
        async with places:
            story_id = ""
            try:
                async for event in client.tell(spec(seed)):
                    story_id = event.story_id
                stories[seed] = await client.get_story(story_id, full=True)
            except TaleError as error:
                errors[f"call failed ({error.reason or error.code.name})"] += 1

    with suppress(TimeoutError):
        async with asyncio.timeout(_SECONDS), asyncio.TaskGroup() as tasks:
            for seed in seeds:
                tasks.create_task(one(seed))
    return stories, errors


def is_right(story: common_pb2.Story, seed: int, asked: Mapping[str, str]) -> bool:
    """Returns whether a story is the one that the upstreams make for its seed, and its audio the sound of its text.

    `asked` are texts as they were sent to the voice, by their words.
    """
    made = made_up_story(seed, _WORDS)
    if (made.title, made.text) != (story.title, story.content):
        return False
    sounds = []
    for segment in story.audio.segments:
        text = story.content[segment.text.start : segment.text.end] if segment.index else story.title
        sounds.append(made_up_speech(asked.get(" ".join(text.split()), "")))
        if sha256(sounds[-1]).digest() != segment.sha256:
            return False
    ends = [segment.text.end for segment in story.audio.segments]
    return ends[-1:] == [len(story.content)] and sha256(b"".join(sounds)).digest() == story.audio.sha256


STORMING: Final = Measurement((STORM,), _storm, _SECONDS + 60)
