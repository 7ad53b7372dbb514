"""Many callers at a time, and what their stories cost the processes."""

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import psutil

from standins.processes import MODULES, Cluster
from standins.watcher import gateway_stub, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

SEED = iter(range(1_000_000))
_STORIES_A_CHANNEL = 100
"""More streams than that on one connection wait for each other in many servers and proxies."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of stories took. Times in seconds; CPU in milliseconds a story; memory in MB."""

    stories: int
    wall: float
    times: list[float]
    cpu_ms: Mapping[str, float]
    peak_mb: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Stories a second."""
        return self.stories / self.wall

    def percentile(self, share: int) -> float:
        """Seconds within which `share` percent of the stories were done."""
        return statistics.quantiles(self.times, n=100, method="inclusive")[share - 1]

    @property
    def costs(self) -> str:
        """CPU of each process."""
        return "CPU ms a story: " + ", ".join(f"{name} {ms:.0f}" for name, ms in self.cpu_ms.items())

    @property
    def peaks(self) -> str:
        """Memory of each of our processes."""
        return "peak MB: " + ", ".join(f"{name} {self.peak_mb[name]:.0f}" for name in MODULES)


async def load(
    it: Cluster,
    *,
    stories: int,
    at_once: int,
    minutes: int = 5,
    narrate: bool = True,
    others: Mapping[str, int] | None = None,
) -> Load:
    """Ask for `stories` stories, `at_once` at a time, each followed to its end by one who takes no audio.

    `others` are further processes, by their id, whose CPU is told; that of the load generator always is.
    """
    pids = {name: it.pid(name) for name in MODULES} | dict(others or {}) | {"load generator": os.getpid()}
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    before = {name: _cpu(process) for name, process in processes.items()}
    places, times = asyncio.Semaphore(at_once), []
    async with AsyncExitStack() as stack:
        count = -(-min(stories, at_once) // _STORIES_A_CHANNEL)
        channels = [await stack.enter_async_context(it.channel()) for _ in range(count)]
        stubs = [gateway_stub(channel) for channel in channels]

        async def one(number: int) -> None:
            async with places:
                began = time.perf_counter()
                wish = spec(next(SEED), minutes=minutes, narrate=narrate)
                done = None
                tell = stubs[number % len(stubs)].TellStory
                async for response in tell(gateway_pb2.TellStoryRequest(spec=wish), timeout=600):
                    if response.event.WhichOneof("event") == "done":
                        done = response.event.done.story
                state = "" if done is None else common_pb2.StoryState.Name(done.state)
                reasons = [] if done is None else [problem.reason for problem in done.problems]
                if state != "STORY_STATE_READY":
                    raise RuntimeError(f"a story ended as {state or 'nothing'}: {reasons}")
                times.append(time.perf_counter() - began)

        peaks = await stack.enter_async_context(_peaks({name: processes[name] for name in MODULES}))
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(stories):
                tasks.create_task(one(number))
        wall = time.perf_counter() - began
    spent = {name: (_cpu(process) - before[name]) * 1000 / stories for name, process in processes.items()}
    return Load(stories, wall, times, spent, peaks)


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
