"""Measures how long a single story of one caller waits beside a batch of another: `python -m benchmarks.turns [N]`.

All four services run as processes, with the embedded writer and voice and each caller's key; N is the size of the
batch (500). The batch is there before the single stories are, which come one after the other.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Final

import grpc

from gateway.door.keys import KeyFile
from standins.processes import Cluster
from standins.watcher import gateway_stub, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

_SINGLES: Final = 5
_SECONDS: Final = 120.0
_LIMIT: Final = 2.0

Metadata = tuple[tuple[str, str], ...]

_numbers: Final = count(1)


def unheard(minutes: int) -> common_pb2.StorySpec:
    """Returns a request whose story is spoken a little faster than each before: no stored segment serves it."""
    number = next(_numbers)
    wanted = spec(number, minutes=minutes)
    wanted.voice.settings.speed = 0.9 + number / 10_000
    return wanted


async def first_sound(channel: grpc.aio.Channel, caller: Metadata) -> tuple[float, float]:
    """Returns the seconds to the first text and to the first audio of a new story, which is then deleted."""
    stub, began, text, story_id = gateway_stub(channel), time.perf_counter(), 0.0, ""
    request = gateway_pb2.TellStoryRequest(spec=unheard(1), include_audio=True)
    call = stub.TellStory(request, timeout=_SECONDS, metadata=caller)
    async for response in call:
        event = response.event
        story_id = event.story_id or story_id
        text = text or (event.HasField("text") and time.perf_counter() - began) or 0.0
        if event.HasField("audio"):
            break
    sounded = time.perf_counter() - began
    call.cancel()
    await stub.DeleteStory(gateway_pb2.DeleteStoryRequest(story_id=story_id), timeout=_SECONDS, metadata=caller)
    return text, sounded


async def singles(channel: grpc.aio.Channel, caller: Metadata) -> tuple[list[float], list[float]]:
    """Returns the times of first text and first audio of some stories, one after the other."""
    times = [await first_sound(channel, caller) for _ in range(_SINGLES)]
    return [text for text, _ in times], [sounded for _, sounded in times]


async def batch(channel: grpc.aio.Channel, caller: Metadata, size: int) -> None:
    """Requests so many stories at once."""
    stub, requests = gateway_stub(channel), [gateway_pb2.CreateStoryRequest(spec=unheard(5)) for _ in range(size)]
    await asyncio.gather(*(stub.CreateStory(each, timeout=_SECONDS, metadata=caller) for each in requests))


async def measure(size: int) -> None:
    """Prints a line for each number of places of the gateway."""
    print("| places | batch | first text alone, beside | first sound alone, beside | ratio |\n|---|---|---|---|---|")
    for places in (256, 4):
        with tempfile.TemporaryDirectory() as name:
            keys = KeyFile(Path(name) / "keys.json")
            many, one = ((("authorization", f"Bearer {keys.create(owner)[0]}"),) for owner in ("mia", "ben"))
            cluster = Cluster(
                Path(name),
                {
                    "LOG_LEVEL": "ERROR",
                    "GATEWAY_AUTH": "api_key",
                    "GATEWAY_API_KEYS_FILE": str(Path(name) / "keys.json"),
                    "GATEWAY_MAX_RUNS": str(places),
                },
            )
            try:
                await cluster.start()
                async with cluster.channel() as channel:
                    await first_sound(channel, one)  # loads the voice
                    text, alone = await singles(channel, one)
                    await batch(channel, many, size)
                    text_beside, beside = await singles(channel, one)
            finally:
                await cluster.close()
        texts, sounds = ([statistics.median(each) for each in pair] for pair in ((text, text_beside), (alone, beside)))
        ratio = sounds[1] / sounds[0]
        verdict = "met" if ratio <= _LIMIT else "missed"
        shown = [", ".join(f"{each:.2f} s" for each in pair) for pair in (texts, sounds)]
        print(f"| {places} | {size} | {shown[0]} | {shown[1]} | {verdict}: {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
