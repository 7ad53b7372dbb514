"""Rows about what a listener hears, and when, on the gateway that runs the story and on another one."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from benchmarks.counting import counting_proxy
from benchmarks.table import Line, Measurement, Report
from standins.callers import READY, SEEDS, named_end
from standins.houses import LIFTED, House, house
from standins.watcher import gateway_stub, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

WORDS, TOKENS_PER_WORD, TOKENS_PER_SECOND = 750, 4 / 3, 60
FIRST_TOKEN, FIRST_BYTE, PACE = 0.5, 0.4, 5.0
WRITING: Final = WORDS * TOKENS_PER_WORD / TOKENS_PER_SECOND
REALISTIC: Final[dict[str, Any]] = {
    "words": WORDS,
    "events": round(WORDS * TOKENS_PER_WORD),
    "first_token": FIRST_TOKEN,
    "writing": WRITING,
    "first_byte": FIRST_BYTE,
    "pace": PACE,
}
"""Upstreams at the pace of real ones: an event is a token."""
BYTES_PER_SECOND: Final = 16_000
"""Of sound at 128 kbit/s."""
LISTENERS: Final = 200
_READS: Final = 20
_ONCE: Final = 1.5
"""Bytes that a gateway reads over the bytes of the audio, from which it read some segment twice."""

FIRST_AUDIO: Final = Line(
    "first audio byte at the caller, on the gateway that runs the story and on another one"
    " (first token after 0.5 s, 60 tokens/s; voice first byte 0.4 s, five times faster than speech)",
    "within 0.3 s (other gateway: 1 s) of the limit: title line written, then spoken whole;"
    " no gap afterwards while the writer keeps pace",
)
WHOLE: Final = Line("whole narrated story, same timings", "<= the writing alone + the last segment's voice time + 1 s")
READING: Final = Line("ReadStoryAudio through gateway and storage", ">= 200 MiB/s")
CROWD: Final = Line(
    "200 listeners on one story in progress, on two gateways", "read each segment from storage once per gateway"
)


@dataclass(slots=True)
class Hearing:
    """Moments of one story at one listener, in seconds from `began`; lengths of its sound in seconds."""

    began: float
    story_id: asyncio.Future[str]
    title: float = 0.0
    first_audio: float = 0.0
    done: float = 0.0
    title_sound: float = 0.0
    """How long the spoken title sounds."""
    last_sound: float = 0.0
    """How long the last segment sounds."""
    heard: float = 0.0
    """How much sound came in all."""
    silence: float = 0.0
    """How long a listener who plays what comes as it comes hears nothing after the first sound."""
    digest: Any = field(default_factory=hashlib.sha256)
    story: common_pb2.Story | None = None

    @property
    def complete(self) -> bool:
        """Returns whether the received bytes are the stored audio."""
        return self.story is not None and self.digest.digest() == self.story.audio.sha256

    async def follow(self, responses: AsyncIterator[Any]) -> None:
        """Receives all events; RuntimeError if the story does not become READY."""
        async for response in responses:
            now, event = time.perf_counter() - self.began, response.event
            if not self.story_id.done():
                self.story_id.set_result(event.story_id)
            match event.WhichOneof("event"):
                case "title":
                    self.title = self.title or now
                case "segment":
                    self.last_sound = event.segment.segment.duration.ToNanoseconds() / 1e9
                    if event.segment.segment.index == 0:
                        self.title_sound = self.last_sound
                case "audio":
                    self._hear(now, event.audio.chunk)
                case "done":
                    self.done, self.story = now, event.done.story
        if (end := named_end(self.story)) != READY:
            raise RuntimeError(f"the story ended as {end}")

    def _hear(self, now: float, chunk: bytes) -> None:
        self.first_audio = self.first_audio or now
        self.silence += max(0.0, now - (self.first_audio + self.silence + self.heard))
        self.heard += len(chunk) / BYTES_PER_SECOND
        self.digest.update(chunk)


def hearing(began: float) -> Hearing:
    """Returns a listener that has received nothing yet."""
    return Hearing(began, asyncio.get_running_loop().create_future())


async def tell(channel: grpc.aio.Channel, listener: Hearing, *, minutes: int = 5) -> None:
    """Requests a story and listens to its end."""
    request = gateway_pb2.TellStoryRequest(spec=spec(next(SEEDS), minutes=minutes), include_audio=True)
    await listener.follow(gateway_stub(channel).TellStory(request, timeout=600))


async def watch(channel: grpc.aio.Channel, listener: Hearing, story_id: str) -> None:
    """Listens to a story from its beginning."""
    request = gateway_pb2.WatchStoryRequest(story_id=story_id, include_audio=True)
    await listener.follow(gateway_stub(channel).WatchStory(request, timeout=600))


async def _first_audio(report: Report) -> None:
    async with (
        house(LIFTED, replicas={"gateway": 2}, **REALISTIC) as it,
        it.cluster.channel("gateway") as own,
        it.cluster.channel("gateway", 2) as other,
    ):
        began = time.perf_counter()
        near, far = hearing(began), hearing(began)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tell(own, near))
            tasks.create_task(watch(other, far, await near.story_id))
    limit = near.title + FIRST_BYTE + near.title_sound / PACE
    report.row(
        FIRST_AUDIO,
        f"the limit is {limit:.2f} s (title after {near.title:.2f} s); {near.first_audio:.2f} s"
        f" ({near.first_audio - limit:+.2f} s), silence {near.silence:.2f} s; other gateway {far.first_audio:.2f} s"
        f" ({far.first_audio - limit:+.2f} s), silence {far.silence:.2f} s;"
        f" both heard the stored audio whole: {near.complete and far.complete}",
        met=near.first_audio <= limit + 0.3
        and far.first_audio <= limit + 1
        and near.silence + far.silence < 0.05
        and near.complete
        and far.complete,
    )
    allowed = FIRST_TOKEN + WRITING + FIRST_BYTE + near.last_sound / PACE + 1
    report.row(
        WHOLE,
        f"{near.done:.1f} s; the limit is {allowed:.1f} s ({FIRST_TOKEN + WRITING:.1f} s of writing,"
        f" {FIRST_BYTE + near.last_sound / PACE:.1f} s for the last segment)",
        met=near.done <= allowed,
    )


async def _reading(report: Report) -> None:
    async with house(LIFTED) as it, it.cluster.channel() as channel:
        heard = hearing(time.perf_counter())
        await tell(channel, heard)
        size, began = 0, time.perf_counter()
        for _ in range(_READS):
            request = gateway_pb2.ReadStoryAudioRequest(story_id=heard.story_id.result())
            async for response in gateway_stub(channel).ReadStoryAudio(request, timeout=60):
                size += len(response.chunk.chunk)
        rate = size / (time.perf_counter() - began) / 2**20
    expected = _READS * heard.heard * BYTES_PER_SECOND
    if size != round(expected):
        raise RuntimeError(f"{size} bytes were read where {expected:.0f} are stored")
    report.row(
        READING,
        f"{rate:.0f} MiB/s, {_READS} times {size / _READS / 1e6:.1f} MB, one after the other",
        met=rate >= 200,
    )


async def _crowd(report: Report) -> None:
    """Measures with a proxy between each gateway and storage that counts what the gateway reads."""
    async with AsyncExitStack() as stack:
        it: House = await stack.enter_async_context(house(LIFTED))
        storage = it.cluster.address("storage").grpc
        proxies = [await stack.enter_async_context(counting_proxy(storage)) for _ in range(2)]
        await it.cluster.terminate("gateway")
        for replica, proxy in enumerate(proxies, 1):
            await it.cluster.start("gateway", replica=replica, STORAGE_TARGET=f"dns:///{proxy.address}")
        await it.script(words=300, events=30, writing=3.0, first_byte=0.1, pace=30)
        channels = [await stack.enter_async_context(it.cluster.channel("gateway", replica)) for replica in (1, 2)]
        began = time.perf_counter()
        teller = hearing(began)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tell(channels[0], teller, minutes=2))
            story_id = await teller.story_id
            listeners = [hearing(began) for _ in range(LISTENERS - 1)]
            for number, listener in enumerate(listeners):
                tasks.create_task(watch(channels[number % len(channels)], listener, story_id))
    whole = sum(listener.complete for listener in [teller, *listeners])
    size = teller.story.audio.size_bytes if teller.story else 0
    shares = [proxy.answered["ReadAudio"] / size for proxy in proxies]
    others = [sum(proxy.answered.values()) - proxy.answered["ReadAudio"] for proxy in proxies]
    report.row(
        CROWD,
        f"bytes read from storage over bytes of audio ({size / 1e6:.1f} MB): {shares[0]:.2f} and {shares[1]:.2f}, in"
        f" {proxies[0].calls['ReadAudio']} and {proxies[1].calls['ReadAudio']} calls; {others[0] / 1e6:.1f} and"
        f" {others[1] / 1e6:.1f} MB of other answers; {whole} of {LISTENERS} heard the stored audio whole",
        met=max(shares) < _ONCE and whole == LISTENERS,
    )


HEARING: Final = (
    Measurement((FIRST_AUDIO, WHOLE), _first_audio, 90),
    Measurement((READING,), _reading, 60),
    Measurement((CROWD,), _crowd, 90),
)
