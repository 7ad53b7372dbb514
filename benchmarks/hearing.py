"""When a listener hears the first sound, and how fast kept audio can be read."""

import time
from dataclasses import dataclass

from support.processes import Cluster
from support.watcher import gateway_stub, spec

from benchmarks.load import SEED
from tale.gateway.v1 import gateway_pb2


@dataclass(frozen=True, slots=True)
class Hearing:
    """Moments of one told story, in seconds from the call."""

    title: float
    first_audio: float
    text_whole: float
    done: float
    story_id: str
    title_sound: float
    """How long the spoken title sounds."""


async def hear(it: Cluster, *, minutes: int = 5) -> Hearing:
    """Tells one story and listens."""
    began = time.perf_counter()
    title = first = text = done = 0.0
    story_id, title_sound = "", 0.0
    async with it.channel() as channel:
        request = gateway_pb2.TellStoryRequest(spec=spec(next(SEED), minutes=minutes), include_audio=True)
        async for response in gateway_stub(channel).TellStory(request, timeout=600):
            now = time.perf_counter() - began
            story_id = response.event.story_id
            match response.event.WhichOneof("event"):
                case "title":
                    title = now
                case "segment" if response.event.segment.segment.index == 0:
                    title_sound = response.event.segment.segment.duration.ToNanoseconds() / 1e9
                case "audio":
                    first = first or now
                case "text":
                    text = now
                case "done":
                    done = now
    return Hearing(title, first, text, done, story_id, title_sound)


async def read_rate(it: Cluster, story_id: str, *, times: int = 20) -> float:
    """MiB a second at which ReadStoryAudio gives a kept story, read `times` times."""
    size, began = 0, time.perf_counter()
    async with it.channel() as channel:
        for _ in range(times):
            request = gateway_pb2.ReadStoryAudioRequest(story_id=story_id)
            async for response in gateway_stub(channel).ReadStoryAudio(request, timeout=60):
                size += len(response.chunk.chunk)
    return size / (time.perf_counter() - began) / 2**20
