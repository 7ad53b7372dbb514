"""Many callers at a time, and what their stories cost the processes."""

import asyncio
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil
from support.processes import MODULES, Cluster
from support.watcher import gateway_stub, spec

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

SEED = iter(range(1_000_000))


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


async def load(it: Cluster, *, stories: int, at_once: int, minutes: int = 5, narrate: bool = True) -> Load:
    """Asks for `stories` stories, `at_once` at a time, each followed to its end by one who takes no audio."""
    processes = {name: psutil.Process(it.pid(name)) for name in MODULES}
    before = {name: _cpu(process) for name, process in processes.items()}
    peaks = dict.fromkeys(processes, 0.0)
    watching = asyncio.create_task(_watch_memory(processes, peaks))
    places, times = asyncio.Semaphore(at_once), []
    async with it.channel() as channel:
        stub = gateway_stub(channel)

        async def one() -> None:
            async with places:
                began = time.perf_counter()
                wish = spec(next(SEED), minutes=minutes, narrate=narrate)
                state = 0
                async for response in stub.TellStory(gateway_pb2.TellStoryRequest(spec=wish), timeout=600):
                    if response.event.WhichOneof("event") == "done":
                        state = response.event.done.story.state
                assert state == common_pb2.STORY_STATE_READY, state
                times.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(stories)))
        wall = time.perf_counter() - began
    watching.cancel()
    spent = {name: (_cpu(process) - before[name]) * 1000 / stories for name, process in processes.items()}
    return Load(stories, wall, times, spent, peaks)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _watch_memory(processes: Mapping[str, psutil.Process], peaks: dict[str, float]) -> None:
    while True:
        for name, process in processes.items():
            peaks[name] = max(peaks[name], process.memory_info().rss / 1e6)
        await asyncio.sleep(0.1)
