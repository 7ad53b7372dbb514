"""A steady trickle of stories in changing weather: `python -m benchmarks.soak [MINUTES]`.

Prints how the stories of each spell ended, and what was left behind in memory, ledgers and metrics.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import psutil

from benchmarks.metrics import call_codes
from standins.callers import READY, SEEDS, Crowd, Facts, crowd
from standins.houses import House, house
from standins.weather import FAULT_RATE, FINE, WORDS

MINUTES: Final = 30.0
_REPLICAS: Final = {"gateway": 2, "story": 2, "voice": 2}
_PROCESSES: Final = (*((name, 1) for name in ("storage", *_REPLICAS)), *((name, 2) for name in _REPLICAS))
_SECONDS_A_STORY: Final = 2.0
_OUTAGE_SECONDS: Final = 60.0
_AFTERWARDS_SECONDS: Final = 180.0
_SETTLING_SECONDS: Final = 5.0

Act = Callable[[House], Awaitable[None]]


async def _calm(it: House) -> None:
    await it.upstreams.script(**FINE)


async def _storm(it: House) -> None:
    await it.upstreams.script(**FINE, fault_rate=FAULT_RATE, seed=3)


async def _outage(it: House) -> None:
    await it.upstreams.script(**FINE, down=True)
    await asyncio.sleep(_OUTAGE_SECONDS)
    await _calm(it)


def _killed(name: str, replica: int) -> Act:
    async def act(it: House) -> None:
        await it.cluster.kill(name, replica)
        await it.cluster.start(name, replica=replica)

    return act


async def _storage_restarted(it: House) -> None:
    await it.cluster.terminate("storage")
    await it.cluster.start("storage")


_SPELLS: Final[tuple[tuple[str, float, Act], ...]] = (
    ("calm", 0.15, _calm),
    ("storm", 0.2, _storm),
    ("calm after the storm", 0.1, _calm),
    ("outage of a minute", 0.15, _outage),
    ("gateway killed", 0.05, _killed("gateway", 2)),
    ("voice killed", 0.05, _killed("voice", 2)),
    ("storage restarted", 0.05, _storage_restarted),
    ("storage killed", 0.05, _killed("storage", 1)),
    ("storm again", 0.1, _storm),
    ("calm at last", 0.1, _calm),
)
"""Name, share of the time, and what happens at the beginning."""


@dataclass(slots=True)
class _Left:
    """What the processes report about themselves: memory in MB, calls by their end."""

    memory: dict[str, float]
    codes: Counter[str]


async def _left(it: House) -> _Left:
    left = _Left({}, Counter())
    for name, replica in _PROCESSES:
        process = psutil.Process(it.cluster.pid(name, replica))
        left.memory[f"{name} {replica}"] = process.memory_info().rss / 1e6
        for call, number in (await call_codes(it.cluster.address(name, replica).ops)).items():
            left.codes[f"{name} {call}"] += number
    return left


@asynccontextmanager
async def _trickle(callers: Crowd) -> AsyncIterator[None]:
    async def request() -> None:
        while True:
            callers.request(next(SEEDS))
            await asyncio.sleep(_SECONDS_A_STORY)

    requesting = asyncio.create_task(request())
    try:
        yield
    finally:
        requesting.cancel()
        await asyncio.gather(requesting, return_exceptions=True)


async def soak(minutes: float) -> None:
    """Measures and prints."""
    print("| spell | stories | median | slowest |\n|---|---|---|---|", flush=True)
    begins: list[tuple[str, int]] = []
    size = round(minutes * 60 / _SECONDS_A_STORY)
    async with house(replicas=_REPLICAS, **FINE) as it, crowd(it.cluster.target, size) as callers:
        first = await _left(it)
        async with _trickle(callers):
            for name, share, act in _SPELLS:
                begins.append((name, len(callers.callers)))
                over = asyncio.create_task(asyncio.sleep(share * minutes * 60))
                await act(it)
                await over
        facts = await it.facts(callers, _AFTERWARDS_SECONDS, words=WORDS)
        await asyncio.sleep(_SETTLING_SECONDS)
        last = await _left(it)
    for line in _rows(facts, begins):
        print(line)
    cancelled = {call: number for call, number in last.codes.items() if call.endswith(" CANCELLED")}
    memory = ", ".join(f"{name} {first.memory[name]:.0f} to {mb:.0f}" for name, mb in last.memory.items())
    print(
        f"\n{facts.ends[READY]} of {len(facts.callers)} stories READY, {facts.wrong} wrong, {facts.doubled} made twice;"
        f" {facts.calls} calls for {facts.needed} needed: {facts.calls / facts.needed:.2f} ({facts.failed} failed);"
        f" {facts.paid_twice} repeated after a whole answer; {facts.attempts} attempts, {facts.started} STARTED."
        f"\nMB: {memory}.\nCANCELLED since the last start of a process: {cancelled or 'none'}.",
        flush=True,
    )


def _rows(facts: Facts, begins: list[tuple[str, int]]) -> Iterator[str]:
    ends = [begin for _, begin in begins[1:]] + [len(facts.callers)]
    for (name, begin), end in zip(begins, ends, strict=True):
        some = Facts(facts.callers[begin:end], facts.journal, 0, WORDS)
        yield f"| {name} | {some.listed} | {some.median:.1f} s | {some.slowest:.0f} s |"


if __name__ == "__main__":
    asyncio.run(soak(float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES))
