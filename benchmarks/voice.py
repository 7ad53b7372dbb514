"""Measures the voice service alone, as a process: `python -m benchmarks.voice`.

The provider is the mock voice (valid MP3 of the length that its text needs); the embedded voice where a row says so.
Segments are in the service's own memory, and the caller gets the bytes. The load generator shares the machine.
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servicekit.channel import open_channel
from standins.processes import Cluster
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2, voice_pb2_grpc

_SENTENCE: Final = "The fox walked on, past the mill and over the bridge, and counted {} stars above the quiet river. "
_CHARACTERS: Final = 4_700
"""Of a text that sounds for five minutes and takes 5 MB."""
_SHORT: Final = 300
_ONE_MINUTE: Final = 900
_OPEN: Final = {
    "DEFAULT_VOICE_PROVIDER": "mock",
    "VOICE_CONCURRENCY": "256",
    "LOG_LEVEL": "WARNING",
    # Without storage: segments are in memory.
    "STORAGE_TARGET": "",
}


def text(number: int, characters: int = _CHARACTERS) -> str:
    """Returns a text that is unique to this number."""
    # A realistic first sentence: its first byte is later than that of two words.
    sentences, size = [f"Once upon a time there was a small fox who had {number} sisters and brothers. "], 0
    while size < characters:
        sentences.append(_SENTENCE.format(number * 1_000 + len(sentences)))
        size += len(sentences[-1])
    return "".join(sentences)


@dataclass(frozen=True, slots=True)
class Heard:
    """One narration: seconds to the first byte and to the end, bytes."""

    first: float
    whole: float
    size: int


class Service:
    """A running voice service."""

    def __init__(self, address: str, process: psutil.Process) -> None:
        self.address = address
        self.process = process

    def cpu(self) -> float:
        """Returns the seconds of CPU that the process itself has used."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    async def hear(self, channel: grpc.aio.Channel, story: str, **config: Any) -> Heard:
        """Narrates a text and reads everything; RuntimeError if the stream ends without its summary."""
        began, first, size, complete = time.perf_counter(), 0.0, 0, False

        async def requests() -> AsyncIterator[voice_pb2.SynthesizeSpeechRequest]:
            yield voice_pb2.SynthesizeSpeechRequest(
                config=voice_pb2.SpeechConfig(language_code="en", word_timings=True, **config)
            )
            yield voice_pb2.SynthesizeSpeechRequest(text=voice_pb2.TextPiece(text=story))

        async for response in voice_pb2_grpc.VoiceServiceStub(channel).SynthesizeSpeech(requests(), timeout=600):
            complete = response.HasField("summary")
            if response.HasField("chunk"):
                first = first or time.perf_counter() - began
                size += len(response.chunk.data)
        if not complete:
            raise RuntimeError("the narration is incomplete")
        return Heard(first, time.perf_counter() - began, size)


@asynccontextmanager
async def service(**environment: str) -> AsyncIterator[Service]:
    """Runs a voice service over an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        it = Cluster(Path(folder), {**_OPEN, **environment})
        try:
            await it.start("voice")
            yield Service(it.address("voice").grpc, psutil.Process(it.pid("voice")))
        finally:
            await it.close()


async def load(
    it: Service, numbers: range, at_once: int, *, characters: int = _CHARACTERS, **config: Any
) -> tuple[list[Heard], float]:
    """Narrates a text for each number; returns the results and the number per second."""
    places = asyncio.Semaphore(at_once)
    async with open_channel(it.address, health_checked=False) as channel:

        async def one(number: int) -> Heard:
            async with places:
                return await it.hear(channel, text(number, characters), **config)

        began = time.perf_counter()
        heard = await asyncio.gather(*(one(number) for number in numbers))
    return heard, len(heard) / (time.perf_counter() - began)


async def watch_health(it: Service, times: list[float]) -> None:
    """Checks health continuously."""
    async with open_channel(it.address, health_checked=False) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        while True:
            began = time.perf_counter()
            await stub.Check(health_pb2.HealthCheckRequest(service=""), timeout=30)
            times.append(time.perf_counter() - began)
            await asyncio.sleep(0.02)


async def watch_memory(it: Service, sizes: list[float]) -> None:
    """Adds the memory of the process in MB to `sizes` continuously."""
    while True:
        sizes.append(it.process.memory_info().rss / 1e6)
        await asyncio.sleep(0.05)


async def main() -> None:
    """Measures and prints."""
    print("| what | target | measured |\n|---|---|---|")
    await _first_bytes()
    async with service(VOICE_MOCK_SCRIPT='{"first_byte_seconds": 0.05}') as it:
        await load(it, range(8), 8)
        cpu = it.cpu()
        heard, rate = await load(it, range(100, 196), 32)
        _row(
            "voice: narrations of 5 MB, 32 at a time",
            "CPU ms a narration is what counts",
            f"{rate:.1f} a second, {(it.cpu() - cpu) * 1000 / len(heard):.0f} ms of CPU each,"
            f" {rate * heard[0].size / 2**20:.0f} MiB/s",
        )
    await _memory()
    await _embedded()


async def _first_bytes() -> None:
    for delay, name in ((0.0, "0 ms"), (0.4, "400 ms")):
        async with service(VOICE_MOCK_SCRIPT=json.dumps({"first_byte_seconds": delay})) as it:
            await load(it, range(3), 1, characters=_SHORT)
            heard, _ = await load(it, range(10, 30), 1, characters=_SHORT)
        added = statistics.median(each.first for each in heard) - delay
        _row(f"voice: first byte, provider's at {name}", "+ 50 ms at most", f"{added * 1000:+.1f} ms")
    # Every call to the first provider fails; `offline` is the fallback.
    dead = json.dumps({"paid": True, "faults": [{"kind": "overload", "times": None}], "probe_fault": "overload"})
    async with service(VOICE_PROVIDER_FALLBACK="offline", VOICE_MOCK_SCRIPT=dead) as it:
        own, _ = await load(
            it, range(40, 50), 1, characters=_SHORT, voice=common_pb2.VoiceSelection(provider="offline")
        )
        await load(it, range(50, 51), 1, characters=_SHORT)
        heard, _ = await load(it, range(60, 70), 1, characters=_SHORT)
    added = statistics.median(each.first for each in heard) - statistics.median(each.first for each in own)
    _row("voice: first byte of the fallback while the circuit is open", "+ 50 ms at most", f"{added * 1000:+.1f} ms")


async def _memory() -> None:
    async with service(VOICE_MOCK_SCRIPT='{"realtime_factor": 60}') as it:
        await load(it, range(4), 4)
        before = it.process.memory_info().rss / 1e6
        sizes: list[float] = []
        watching = asyncio.create_task(watch_memory(it, sizes))
        heard, _ = await load(it, range(1_000, 1_128), 128)
        watching.cancel()
    _row(
        "voice: memory, 128 narrations of 5 MB at a time",
        "< 200 MB",
        f"peak {max(sizes):.0f} MB ({before:.0f} before), {sum(each.size for each in heard) / 2**20:.0f} MiB made",
    )


async def _embedded() -> None:
    async with service(DEFAULT_VOICE_PROVIDER="offline") as it:
        await load(it, range(2), 2)
        times: list[float] = []
        watching = asyncio.create_task(watch_health(it, times))
        heard, rate = await load(it, range(10, 74), 64, characters=_ONE_MINUTE)
        watching.cancel()
    whole = statistics.median(each.whole for each in heard)
    _row(
        "voice: health while the embedded voice narrates 64 stories of a minute",
        "< 100 ms",
        f"p50 {statistics.median(times) * 1000:.1f} ms, p99 {_percentile(times, 99) * 1000:.0f} ms, max"
        f" {max(times) * 1000:.0f} ms; {rate:.2f} narrations/s, median {whole:.1f} s",
    )


def _percentile(times: list[float], share: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[share - 1]


def _row(what: str, target: str, measured: str) -> None:
    print(f"| {what} | {target} | {measured} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
