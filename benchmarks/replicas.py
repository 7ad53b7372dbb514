"""Rows about processes that are killed or restarted while callers use the client library."""

import asyncio
import hashlib
import itertools
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

from benchmarks.table import Line, Measurement, Report
from standins.callers import READY, SEEDS, named_end
from standins.houses import LIFTED, House, house
from standins.watcher import spec
from standins.weather import takeover
from tale.common.v1 import common_pb2
from tale_client import AsyncTaleClient, TaleError

STORIES: Final = 300
RESTART_STORIES: Final = 100
_AT_ONCE: Final = 16
_KILL_SECONDS: Final = 10.0
_RESTART_SECONDS: Final = 5.0
_SCRIPT: Final[dict[str, Any]] = {
    "words": 150,
    "events": 30,
    "first_token": 0.2,
    "writing": 2.0,
    "first_byte": 0.2,
    "pace": 20.0,
}
_SETTINGS: Final = {**LIFTED, "LEASE_SECONDS": "5", "PICKUP_INTERVAL_SECONDS": "1"}
_DOUBLED: Final = {"gateway": 2, "story": 2, "voice": 2}
_VICTIMS: Final = (
    ("gateway", 1), ("story", 1), ("voice", 1), ("storage", 1), ("gateway", 2), ("story", 2), ("voice", 2),
)  # fmt: skip

REPLICAS: Final = Line(
    f"two gateways, two of each service, one killed every 10 s, {STORIES} stories",
    "0 failures that the client library shows to its caller",
)
RESTART: Final = Line("restart of the only gateway under load", "0 failures shown within the caller's `timeout`")
TAKEOVER: Final = Line(
    "one of two gateways killed for good, with all stories on it", "listeners hear again within 10 s; all READY"
)


async def _takeover(report: Report) -> None:
    facts, silences = await takeover(stories=16, seconds=120)
    report.row(
        TAKEOVER,
        f"text or audio again after {statistics.median(silences):.1f} s in the median, {max(silences):.1f} s at most;"
        f" {facts.listed}; {facts.wrong} wrong, {facts.paid_twice} texts and segments made twice,"
        f" {facts.started} attempts STARTED",
        met=max(silences) <= 10 and facts.all_ready and facts.is_sound,
    )


async def _replicas(report: Report) -> None:
    """Kills the embedded store in its turn too, which is one process."""
    async with house(_SETTINGS, replicas=_DOUBLED, **_SCRIPT) as it:
        victims = itertools.cycle(_VICTIMS)

        async def kill() -> None:
            await asyncio.sleep(_KILL_SECONDS)
            name, replica = next(victims)
            await it.cluster.kill(name, replica)
            await it.cluster.start(name, replica=replica)

        shown, disturbances, seconds = await _under_load(it, STORIES, kill)
    report.row(
        REPLICAS,
        f"{_listed(shown)} in {seconds:.0f} s with {disturbances} kills (one storage: the embedded store is one"
        " process; leases of 5 s)",
        met=shown[READY] == STORIES and disturbances > 0,
    )


async def _restart(report: Report) -> None:
    async with house(_SETTINGS, **_SCRIPT) as it:

        async def restart() -> None:
            await asyncio.sleep(_RESTART_SECONDS)
            await it.cluster.terminate("gateway")
            await it.cluster.start("gateway")

        shown, disturbances, seconds = await _under_load(it, RESTART_STORIES, restart)
    report.row(
        RESTART,
        f"{_listed(shown)} of {RESTART_STORIES} stories in {seconds:.0f} s with {disturbances} restarts",
        met=shown[READY] == RESTART_STORIES and disturbances > 0,
    )


async def _under_load(
    it: House, stories: int, disturb: Callable[[], Awaitable[None]]
) -> tuple[Counter[str], int, float]:
    """Returns the results of the callers, how often `disturb` was run meanwhile, and the seconds."""
    disturbances = 0

    async def keep_disturbing() -> None:
        nonlocal disturbances
        while True:
            await disturb()
            disturbances += 1

    async with AsyncTaleClient(it.cluster.target) as client:
        began = time.perf_counter()
        disturbing = asyncio.create_task(keep_disturbing())
        calling = asyncio.create_task(_all_told(client, stories))
        try:
            await asyncio.wait({disturbing, calling}, return_when=asyncio.FIRST_COMPLETED)
            if disturbing.done():
                disturbing.result()
            return await calling, disturbances, time.perf_counter() - began
        finally:
            disturbing.cancel()
            calling.cancel()
            await asyncio.gather(disturbing, calling, return_exceptions=True)


async def _all_told(client: AsyncTaleClient, stories: int) -> Counter[str]:
    places = asyncio.Semaphore(_AT_ONCE)
    return Counter(await asyncio.gather(*(_told(client, places) for _ in range(stories))))


async def _told(client: AsyncTaleClient, places: asyncio.Semaphore) -> str:
    """Makes a story, reads it and its audio, and returns READY or the failure."""
    async with places:
        story, digest = common_pb2.Story(), hashlib.sha256()
        try:
            async with aclosing(client.tell(spec(next(SEEDS)), include_audio=True)) as events:
                async for event in events:
                    match event.WhichOneof("event"):
                        case "audio_header":
                            digest = hashlib.sha256()
                        case "audio":
                            digest.update(event.audio.chunk)
                        case "done":
                            story = event.done.story
            stored = await client.get_story(story.id)
        except TaleError as error:
            return f"failure shown ({error.reason or error.code.name})"
    if named_end(stored) == READY and digest.digest() != stored.audio.sha256:
        return "READY, but other audio was heard"
    return named_end(stored)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.most_common(6))


REPLICATION: Final = (
    Measurement((REPLICAS,), _replicas, 300),
    Measurement((RESTART,), _restart, 150),
    Measurement((TAKEOVER,), _takeover, 200),
)
