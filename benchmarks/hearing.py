"""When a listener hears what, and how fast kept audio can be read."""

import time
from dataclasses import dataclass
from typing import Final

from benchmarks.load import SEED
from standins.processes import Cluster
from standins.watcher import gateway_stub, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

BYTES_PER_SECOND: Final = 16_000
"""Of sound at 128 kbit/s."""


@dataclass(slots=True)
class Hearing:
    """Moments of one told story, in seconds from the call; its sound in seconds."""

    story_id: str = ""
    title: float = 0.0
    first_audio: float = 0.0
    text_whole: float = 0.0
    done: float = 0.0
    title_sound: float = 0.0
    """How long the spoken title sounds."""
    last_sound: float = 0.0
    """How long the last segment sounds."""
    heard: float = 0.0
    """How much sound came in all."""
    silence: float = 0.0
    """For how long a listener who plays what comes as it comes hears nothing after the first sound."""

    def hears(self, now: float, size: int) -> None:
        """Note `size` bytes of sound that came at `now`."""
        if not self.first_audio:
            self.first_audio = now
        late = now - (self.first_audio + self.silence + self.heard)
        self.silence += max(0.0, late)
        self.heard += size / BYTES_PER_SECOND


async def hear(it: Cluster, *, minutes: int = 5) -> Hearing:
    """Tell one story and listen."""
    began, hearing = time.perf_counter(), Hearing()
    async with it.channel() as channel:
        request = gateway_pb2.TellStoryRequest(spec=spec(next(SEED), minutes=minutes), include_audio=True)
        async for response in gateway_stub(channel).TellStory(request, timeout=600):
            now, event = time.perf_counter() - began, response.event
            hearing.story_id = event.story_id
            match event.WhichOneof("event"):
                case "title":
                    hearing.title = now
                case "segment":
                    hearing.last_sound = event.segment.segment.duration.ToNanoseconds() / 1e9
                    if event.segment.segment.index == 0:
                        hearing.title_sound = hearing.last_sound
                case "audio":
                    hearing.hears(now, len(event.audio.chunk))
                case "text":
                    hearing.text_whole = now
                case "done":
                    hearing.done = now
                    if event.done.story.state != common_pb2.STORY_STATE_READY:
                        reasons = [problem.reason for problem in event.done.story.problems]
                        raise RuntimeError(f"the story was not told: {reasons}")
    return hearing


async def read_rate(it: Cluster, story_id: str, *, times: int = 20) -> float:
    """MiB a second at which ReadStoryAudio gives a kept story, read `times` times."""
    size, began = 0, time.perf_counter()
    async with it.channel() as channel:
        for _ in range(times):
            request = gateway_pb2.ReadStoryAudioRequest(story_id=story_id)
            async for response in gateway_stub(channel).ReadStoryAudio(request, timeout=60):
                size += len(response.chunk.chunk)
    return size / (time.perf_counter() - began) / 2**20
