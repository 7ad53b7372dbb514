"""Row about kill -9 of each process in the middle of stories, compared with the same stories undisturbed."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import grpc

from benchmarks.table import Line, Measurement, Report
from standins.callers import READY, SEEDS, named_end
from standins.houses import House, house
from standins.processes import MODULES
from standins.watcher import Watcher, gateway_stub, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

STORIES: Final = 8
"""Stories for each process that is killed."""
_STAGGER_SECONDS: Final = 0.5
"""Between the beginnings of two stories: at the kill, one has just started and another is almost finished."""
_KILL_AFTER_SECONDS: Final = 4.0
_STORY_SECONDS: Final = 45.0
_SCRIPT: Final[dict[str, Any]] = {"words": 150, "events": 75, "distinct": True}
_SLOWLY: Final[dict[str, Any]] = {**_SCRIPT, "first_token": 0.2, "writing": 2.0, "first_byte": 0.2, "pace": 20.0}
_SETTINGS: Final = {"LEASE_SECONDS": "2", "PICKUP_INTERVAL_SECONDS": "0.5"}

KILLS: Final = Line(
    "kill -9 of each process at each transition, then restart",
    "every accepted story READY; at most the calls in flight repeated; what a listener got is a prefix of what is"
    " stored; audio bit-identical to an undisturbed run",
)


@dataclass(slots=True)
class _Counts:
    ends: Counter[str]
    in_flight: int = 0
    """Calls to upstreams that had not ended when a process was killed."""
    repeated: int = 0
    """Calls beyond one for each text and each segment."""
    changed: int = 0
    """Listeners whose part was no prefix of what is stored."""
    different: int = 0
    """Stories whose text or audio is another than undisturbed."""


async def _kills(report: Report) -> None:
    seeds = {name: [next(SEEDS) for _ in range(STORIES)] for name in MODULES}
    undisturbed = await _undisturbed([seed for some in seeds.values() for seed in some])
    counts = _Counts(Counter())
    async with house(_SETTINGS) as it:
        for name, some in seeds.items():
            await it.script(**_SLOWLY)
            watchers = await _kill_once(it, name, some, counts)
            for seed, watcher in watchers.items():
                await _compare(it, watcher, undisturbed[seed], counts)
    stories = STORIES * len(MODULES)
    report.row(
        KILLS,
        f"{len(MODULES)} kills over {stories} stories: {', '.join(f'{n} {end}' for end, n in counts.ends.items())};"
        f" {counts.repeated} calls repeated, {counts.in_flight} in flight at the kills; {counts.changed} listeners with"
        f" what is no prefix; {counts.different} stories other than undisturbed (stand-in voice)",
        met=counts.ends[READY] == stories
        and counts.repeated <= counts.in_flight
        and not counts.changed
        and not counts.different,
    )


async def _undisturbed(seeds: Sequence[int]) -> dict[int, tuple[str, bytes]]:
    """Returns text and SHA-256 of the audio of each story, made in a cluster of its own."""
    async with house(**_SCRIPT) as it, it.cluster.channel() as channel:
        watchers = {seed: Watcher() for seed in seeds}
        await asyncio.gather(*(watcher.tell(channel, spec(seed)) for seed, watcher in watchers.items()))
    for watcher in watchers.values():
        if (end := named_end(watcher.done)) != READY:
            raise RuntimeError(f"an undisturbed story ended as {end}")
    return {seed: (watcher.text, watcher.audio_sha256) for seed, watcher in watchers.items()}


async def _kill_once(it: House, name: str, seeds: Sequence[int], counts: _Counts) -> dict[int, "_Heard"]:
    heard = {seed: _Heard() for seed in seeds}
    async with it.cluster.channel() as channel, asyncio.TaskGroup() as tasks:
        for number, (seed, each) in enumerate(heard.items()):
            tasks.create_task(each.hear(channel, seed, after=number * _STAGGER_SECONDS))
        await asyncio.sleep(_KILL_AFTER_SECONDS)
        counts.in_flight += (await it.upstreams.journal())["in_flight"]
        await it.cluster.kill(name)
        await it.cluster.start(name)
    journal = await it.upstreams.journal()
    needed = len({call["seed"] for call in journal["told"]}) + len({call["text"] for call in journal["spoken"]})
    counts.repeated += len(journal["told"]) + len(journal["spoken"]) - needed
    return heard


class _Heard:
    """A listener that reconnects when a connection is lost; `parts` is what each connection had received by its end."""

    def __init__(self) -> None:
        self.watcher = Watcher()
        self.parts: list[tuple[str, str, bytes]] = []
        self.broken = False

    async def hear(self, channel: grpc.aio.Channel, seed: int, *, after: float) -> None:
        """Requests a story, repeatedly under the same request id until it is accepted, and listens to its end."""
        await asyncio.sleep(after)
        # A story that has not ended by then is counted by the state in which it is stored.
        with suppress(TimeoutError):
            async with asyncio.timeout(_STORY_SECONDS):
                await self._follow(channel, seed)

    async def _follow(self, channel: grpc.aio.Channel, seed: int) -> None:
        try:
            while self.watcher.done is None:
                if self.watcher.story_id:
                    await self.watcher.watch(channel)
                else:
                    self.watcher.error = None
                    await self.watcher.tell(channel, spec(seed), request_id=f"kill-{seed}")
                self.parts.append((self.watcher.audio_id, self.watcher.text, bytes(self.watcher.audio)))
                await asyncio.sleep(0.1)
        except AssertionError:
            # An event that does not follow those before it.
            self.broken = True


async def _compare(it: House, heard: _Heard, undisturbed: tuple[str, bytes], counts: _Counts) -> None:
    story = await _stored(it, heard.watcher)
    counts.ends[named_end(story)] += 1
    counts.different += undisturbed != (story.content, story.audio.sha256)
    audio = bytes(heard.watcher.audio)
    counts.changed += (
        heard.broken
        or heard.watcher.audio_sha256 != story.audio.sha256
        or not all(
            story.content.startswith(text) and audio_id in {"", story.audio.audio_id} and audio.startswith(part)
            for audio_id, text, part in heard.parts
        )
    )


async def _stored(it: House, watcher: Watcher) -> common_pb2.Story:
    """Returns the story as stored; one that was never accepted is empty."""
    async with it.cluster.channel() as channel:
        stub: Any = gateway_stub(channel)
        request = gateway_pb2.GetStoryRequest(story_id=watcher.story_id)
        with suppress(grpc.aio.AioRpcError):
            answer: gateway_pb2.GetStoryResponse = await stub.GetStory(request, timeout=20, wait_for_ready=True)
            return answer.story
    return common_pb2.Story()


KILLING: Final = Measurement((KILLS,), _kills, 240)
