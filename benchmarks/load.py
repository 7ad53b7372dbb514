"""Makes many stories at once, and reports how they ended and what they cost each process."""

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import psutil

from standins.callers import READY, SEEDS, STREAMS_A_CHANNEL, named_end
from standins.processes import MODULES, Cluster
from standins.watcher import gateway_stub, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2


@dataclass(frozen=True, slots=True)
class Load:
    """Duration and cost of a run of stories. Times in seconds; CPU in milliseconds a story; memory in MB."""

    stories: int
    wall: float
    ends: Counter[str]
    """How many stories ended how: a state, with the reasons where it is not READY."""
    times: list[float]
    """Of the stories that are READY."""
    cpu_ms: Mapping[str, float]
    peak_mb: Mapping[str, float]

    @property
    def all_ready(self) -> bool:
        """Returns whether every story is READY."""
        return self.ends[READY] == self.stories

    @property
    def rate(self) -> float:
        """Returns the READY stories per second."""
        return self.ends[READY] / self.wall

    @property
    def spread(self) -> float:
        """Returns the 95th percentile over the median."""
        return self.percentile(95) / self.percentile(50)

    @property
    def cluster_cpu_ms(self) -> float:
        """Returns the CPU of the four processes together."""
        return sum(self.cpu_ms[name] for name in MODULES)

    @property
    def costs(self) -> str:
        """Returns the CPU of each process."""
        return "CPU ms a story: " + ", ".join(f"{name} {ms:.0f}" for name, ms in self.cpu_ms.items())

    @property
    def peaks(self) -> str:
        """Returns the memory of each of the four processes."""
        return ", ".join(f"{name} {self.peak_mb[name]:.0f}" for name in MODULES)

    @property
    def rates(self) -> str:
        """Returns stories per second and the duration of one; how they ended, unless all are READY."""
        text = f"{self.rate:.1f}/s, p50 {self.percentile(50):.2f} s, p95 {self.percentile(95):.2f} s"
        return text if self.all_ready else f"{text}; {self.all_ends}"

    @property
    def all_ends(self) -> str:
        """Returns the number of stories by their end."""
        return ", ".join(f"{count} {end}" for end, count in self.ends.most_common(8))

    def percentile(self, share: int) -> float:
        """Returns the seconds within which `share` percent of the stories were READY."""
        if not self.times:
            raise RuntimeError(f"no story is READY: {self.all_ends}")
        return statistics.quantiles([self.times[0], *self.times], n=100, method="inclusive")[share - 1]

    def whole(self) -> "Load":
        """Returns itself; RuntimeError unless every story is READY."""
        if not self.all_ready:
            raise RuntimeError(f"not every story is READY: {self.all_ends}")
        return self


async def load(
    it: Cluster,
    *,
    stories: int,
    at_once: int,
    minutes: int = 5,
    narrate: bool = True,
    others: Mapping[str, int] | None = None,
    seconds: float = 3600,
) -> Load:
    """Requests `stories` stories, `at_once` at a time, each followed to its end without audio.

    `others` are further processes, by their id, whose CPU is reported; that of the load generator always is. Stories
    that have not ended after `seconds` are counted as unfinished.
    """
    pids = {name: it.pid(name) for name in MODULES} | dict(others or {}) | {"load generator": os.getpid()}
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    before = {name: _cpu(process) for name, process in processes.items()}
    places, ends, times = asyncio.Semaphore(at_once), Counter[str](), list[float]()
    async with AsyncExitStack() as stack:
        count = -(-min(stories, at_once) // STREAMS_A_CHANNEL)
        channels = [await stack.enter_async_context(it.channel()) for _ in range(count)]
        stubs = [gateway_stub(channel) for channel in channels]

        async def one(stub: Any) -> None:
            async with places:
                began = time.perf_counter()
                end = await _end(stub, spec(next(SEEDS), minutes=minutes, narrate=narrate), timeout=seconds)
                ends[end] += 1
                if end == READY:
                    times.append(time.perf_counter() - began)

        peaks = await stack.enter_async_context(_peaks({name: processes[name] for name in MODULES}))
        began = time.perf_counter()
        tasks = [asyncio.create_task(one(stubs[number % count])) for number in range(stories)]
        try:
            done, unfinished = await asyncio.wait(tasks, timeout=seconds)
            wall = time.perf_counter() - began
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
    if unfinished:
        ends["unfinished"] += len(unfinished)
    spent = {name: (_cpu(process) - before[name]) * 1000 / stories for name, process in processes.items()}
    return Load(stories, wall, ends, times, spent, peaks)


async def _end(stub: Any, wish: common_pb2.StorySpec, *, timeout: float) -> str:
    done = None
    try:
        async for response in stub.TellStory(gateway_pb2.TellStoryRequest(spec=wish), timeout=timeout):
            if response.event.WhichOneof("event") == "done":
                done = response.event.done.story
    except grpc.aio.AioRpcError as error:
        return f"call failed ({error.code().name}: {error.details()})"
    return named_end(done)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@asynccontextmanager
async def _peaks(processes: Mapping[str, psutil.Process]) -> AsyncIterator[dict[str, float]]:
    peaks = dict.fromkeys(processes, 0.0)

    async def watch() -> None:
        while True:
            for name, process in processes.items():
                peaks[name] = max(peaks[name], process.memory_info().rss / 1e6)
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    try:
        yield peaks
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
