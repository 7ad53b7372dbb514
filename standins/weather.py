"""Bad weather for a cluster whose timers are those of production, and the stories that are requested in it."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from standins.callers import READY, SEEDS, Facts, crowd
from standins.houses import house
from standins.processes import MODULES
from standins.watcher import spec
from standins.wrappers import FULL_LOG, SMALL_DISK, other_clock
from tale_client import AsyncTaleClient

WORDS: Final = 150
FINE: Final[dict[str, Any]] = {
    "words": WORDS,
    "events": 15,
    "distinct": True,
    "first_token": 0.5,
    "writing": 1.5,
    "first_byte": 0.3,
    "spread": 0.33,
}
"""Upstreams that are well: a text takes one to two seconds, a segment begins after 0.2 to 0.4 s."""
SLOW: Final[dict[str, Any]] = {**FINE, "events": 50, "writing": 8.0, "pace": 20.0}
"""Upstreams that are well and take their time: something can happen to a story."""
FAULT_RATE: Final = 0.2
MODEL_WINDOW: Final = 60.0
VOICE_WINDOW: Final = 30.0
"""Seconds for which a circuit stays open."""
_UNTIL_DOWN_SECONDS: Final = 60.0
_UNTIL_KILL_SECONDS: Final = 6.0
"""Some segments are heard by then, and no text is written to its end."""
_WRITE: Final = "/api/v1/chat/completions"
_SPEAK: Final = "/v1/text-to-speech/"
_PROBE: Final = "/v1/models"
_JUMP_SECONDS: Final = 4.0
_DELETED: Final = 3


async def storm(*, stories: int, seconds: float, settings: Mapping[str, str] | None = None) -> tuple[Facts, Facts]:
    """Returns the facts of a crowd without faults, and of one like it while a fifth of all calls fails."""
    async with house(settings) as it:
        calm = await it.crowd(stories, seconds, **FINE)
        return calm, await it.crowd(stories, seconds, **FINE, fault_rate=FAULT_RATE, seed=2)


@dataclass(frozen=True, slots=True)
class Outage:
    """Stories that were requested while every upstream answered 503, and the requests that were turned away.

    Times of requests are in seconds from the beginning of the outage.
    """

    facts: Facts
    back_after: float
    """Seconds from the end of the outage to the end of the last story."""
    model_calls: list[float]
    voice_calls: list[float]
    """Calls to speak, and reads of the list of models, which is what a probe is."""

    @property
    def most_model_calls(self) -> int:
        """Returns the calls in the worst window of a model's circuit."""
        return most_in_a_window(self.model_calls, MODEL_WINDOW)

    @property
    def most_voice_calls(self) -> int:
        """Returns the calls in the worst window of a voice's circuit."""
        return most_in_a_window(self.voice_calls, VOICE_WINDOW)


async def outage(
    *,
    stories: int,
    down_seconds: float,
    seconds: float,
    settings: Mapping[str, str] | None = None,
    replicas: Mapping[str, int] | None = None,
) -> Outage:
    """Takes the upstreams away, requests `stories` texts and as many narrations, and waits until all have ended."""
    async with house(settings, replicas=replicas, **FINE) as it, crowd(it.cluster.target, 2 * stories) as callers:
        written = await it.crowd(stories, _UNTIL_DOWN_SECONDS, narrate=False, **FINE)
        await it.script(**FINE, down=True)
        began, epoch = time.monotonic(), time.time()
        for caller in written.callers:
            callers.narrate(caller.seed, caller.story_id)
        for _ in range(stories):
            callers.request(next(SEEDS))
        await asyncio.sleep(began + down_seconds - time.monotonic())
        await it.upstreams.script(**FINE)
        back = time.monotonic()
        facts = await it.facts(callers, seconds, words=WORDS)
    away = facts.journal["turned_away"]

    def times(*paths: str) -> list[float]:
        return [each["time"] - epoch for each in away if each["path"].startswith(paths)]

    last = max((caller.ended for caller in facts.callers if caller.end == READY), default=back)
    return Outage(facts, last - back, times(_WRITE), times(_SPEAK, _PROBE))


async def takeover(*, stories: int, seconds: float) -> tuple[Facts, list[float]]:
    """Kills the one of two gateways that makes all stories, for good, while listeners at both hear them.

    Returns the facts and, of each listener, the seconds from the kill to the next text or audio.
    """
    script = {**FINE, "words": 300, "events": 100, "writing": 20.0, "pace": 10.0}
    async with house(replicas={"gateway": 2}, **script) as it, crowd(it.cluster.target, stories) as callers:
        async with AsyncTaleClient(it.cluster.address("gateway", 1).grpc) as maker:
            for _ in range(stories):
                seed = next(SEEDS)
                callers.watch(seed, (await maker.create_story(spec(seed, minutes=2))).id, include_audio=True)
            await asyncio.sleep(_UNTIL_KILL_SECONDS)
            killed = time.monotonic()
            await it.cluster.kill("gateway", 1)
        facts = await it.facts(callers, seconds, words=script["words"])
    return facts, [caller.silence_after(killed) for caller in callers.callers]


async def storage_away(*, stories: int, away_seconds: float, seconds: float) -> Facts:
    """Kills storage while stories are written and narrated, and starts it again after `away_seconds`."""
    async with house(**SLOW) as it, crowd(it.cluster.target, stories) as callers:
        for _ in range(stories):
            callers.request(next(SEEDS))
        await asyncio.sleep(_UNTIL_KILL_SECONDS)
        await it.cluster.kill("storage")
        await asyncio.sleep(away_seconds)
        await it.cluster.start("storage")
        return await it.facts(callers, seconds, words=WORDS)


async def disk_full(*, stories: int, full_seconds: float, seconds: float) -> tuple[Facts, Counter[str]]:
    """Fills the disk of the store while stories are written and narrated, and makes room after `full_seconds`.

    Returns the facts, and how the deletion of stored stories ended while the disk was full.
    """
    async with house(wrappers={"storage": SMALL_DISK}, **SLOW) as it, crowd(it.cluster.target, stories) as callers:
        old = await it.crowd(_DELETED, _UNTIL_DOWN_SECONDS, **FINE)
        await it.script(**SLOW)
        for _ in range(stories):
            callers.request(next(SEEDS))
        await asyncio.sleep(_UNTIL_KILL_SECONDS)
        filler = Path(f"/proc/{it.cluster.pid('storage')}/cwd/data/filler")
        await asyncio.to_thread(_fill, filler)
        await asyncio.sleep(full_seconds)
        deleted = Counter(await callers.delete([caller.story_id for caller in old.callers]))
        await asyncio.to_thread(filler.unlink)
        return await it.facts(callers, seconds, words=WORDS), deleted


async def logs_full(*, stories: int, seconds: float) -> Facts:
    """Requests stories from services whose logs cannot be written."""
    async with house({"LOG_LEVEL": "INFO"}, wrappers=dict.fromkeys(MODULES, FULL_LOG)) as it:
        return await it.crowd(stories, seconds, **FINE)


async def clocks_jump(services: Sequence[str], offsets: Sequence[str], *, stories: int, seconds: float) -> Facts:
    """Sets the time of day of some services to each of `offsets` in turn, while stories are written and narrated."""
    with TemporaryDirectory() as folder:
        clock = Path(folder) / "offset"
        await asyncio.to_thread(clock.write_text, "+0")
        wrappers = dict.fromkeys(services, other_clock(clock))
        async with (
            house(wrappers=wrappers, replicas={"gateway": 2}, **SLOW) as it,
            crowd(it.cluster.target, stories) as callers,
        ):
            for _ in range(stories):
                callers.request(next(SEEDS))
            for offset in offsets:
                await asyncio.sleep(_JUMP_SECONDS)
                await asyncio.to_thread(clock.write_text, offset)
            return await it.facts(callers, seconds, words=WORDS)


def _fill(filler: Path) -> None:
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def most_in_a_window(times: list[float], window: float) -> int:
    """Returns the maximum number of requests within one window, without those that found the provider down.

    These are the requests until the first pause of half a window.
    """
    late = [now for before, now in pairwise(times) if now - before > window / 2]
    probes = [now for now in times if late and now >= late[0]]
    return max((sum(now <= each < now + 0.9 * window for each in probes) for now in probes), default=0)
