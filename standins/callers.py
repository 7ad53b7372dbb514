"""Callers that request many stories at once through the client library, and what became of each story."""

import asyncio
import itertools
import math
import statistics
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from standins.made_up import made_up_segment, made_up_story
from standins.watcher import spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client import AsyncTaleClient, TaleError

READY: Final = "READY"
UNFINISHED: Final = "unfinished"
SEEDS: Final = itertools.count()
"""No two stories of one run are alike, so that nothing is found in the segment store."""
STREAMS_A_CHANNEL: Final = 100
"""More streams than that on one connection wait for each other in many servers and proxies."""
_READS_AT_ONCE: Final = 16
_CALLS: Final = {common_pb2.ATTEMPT_KIND_MODEL_CALL, common_pb2.ATTEMPT_KIND_SPEECH_CALL}


def named_end(story: common_pb2.Story | None) -> str:
    """Returns how a story ended: its state without the prefix, and the reasons of its problems unless it is READY."""
    if story is None:
        return "without done"
    state = common_pb2.StoryState.Name(story.state).removeprefix("STORY_STATE_")
    reasons = sorted({problem.reason for problem in story.problems})
    return state if state == READY else f"{state} ({', '.join(reasons) or 'no problem given'})"


def is_right(story: common_pb2.Story, seed: int, words: int) -> bool:
    """Returns whether a story is the one that the upstreams make for its seed, and its audio the sound of its text."""
    made = made_up_story(seed, words)
    if (made.title, made.text) != (story.title, story.content):
        return False
    sounds = []
    for segment in story.audio.segments:
        text = story.content[segment.text.start : segment.text.end] if segment.index else f"{story.title}\n\n"
        sounds.append(made_up_segment(text, last=segment.index + 1 == len(story.audio.segments)))
        if sha256(sounds[-1]).digest() != segment.sha256:
            return False
    ends = [segment.text.end for segment in story.audio.segments]
    return ends[-1:] == [len(story.content)] and sha256(b"".join(sounds)).digest() == story.audio.sha256


@dataclass(slots=True)
class Caller:
    """A story as its caller saw it. Times in seconds by `time.monotonic`."""

    seed: int
    began: float = field(default_factory=time.monotonic)
    story_id: str = ""
    """Stories are numbered in the order in which they were accepted."""
    heard: list[float] = field(default_factory=list)
    """Times of the events that brought text or audio."""
    ended: float = math.inf
    end: str = UNFINISHED
    story: common_pb2.Story = field(default_factory=common_pb2.Story)
    """As stored, in full, once `Crowd.read` was called."""

    @property
    def seconds(self) -> float:
        """Returns the time from the request to the end."""
        return self.ended - self.began

    def silence_after(self, moment: float) -> float:
        """Returns the seconds from `moment` to the next text or audio; infinite if none came."""
        return next((each - moment for each in self.heard if each > moment), math.inf)


class Crowd:
    """Callers that are all there at once; see `crowd`."""

    def __init__(self, clients: Sequence[AsyncTaleClient]) -> None:
        self.callers: list[Caller] = []
        self._clients = clients
        self._tasks: list[asyncio.Task[None]] = []

    def request(self, seed: int, *, minutes: int = 1, narrate: bool = True, include_audio: bool = False) -> Caller:
        """Starts to create a story and to follow it."""
        wish = spec(seed, minutes=minutes, narrate=narrate)
        return self._start(seed, lambda client: client.create_story(wish), include_audio=include_audio)

    def narrate(self, seed: int, story_id: str) -> Caller:
        """Starts to have a stored story narrated and to follow it."""
        return self._start(seed, lambda client: client.narrate_story(story_id))

    def watch(self, seed: int, story_id: str, *, include_audio: bool = False) -> Caller:
        """Starts to follow a story that another caller requested."""
        return self._start(seed, lambda client: client.get_story(story_id), include_audio=include_audio)

    async def ended(self, seconds: float) -> None:
        """Returns once every story has ended, after `seconds` at the latest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def read(self) -> None:
        """Reads the records of all accepted stories, in full."""
        places = asyncio.Semaphore(_READS_AT_ONCE)

        async def one(caller: Caller) -> None:
            async with places:
                caller.story = await self._clients[0].get_story(caller.story_id, full=True)

        await asyncio.gather(*(one(caller) for caller in self.callers if caller.story_id))

    async def delete(self, story_ids: Sequence[str]) -> list[str]:
        """Deletes stories and returns, for each, "deleted" or the reason why not."""
        ends = []
        for story_id in story_ids:
            try:
                await self._clients[0].delete_story(story_id)
                ends.append("deleted")
            except TaleError as error:
                ends.append(error.reason or error.code.name)
        return ends

    async def stored(self) -> set[str]:
        """Returns the ids of all stored stories."""
        return {summary.id async for summary in self._clients[0].list_stories()}

    async def close(self) -> None:
        """Stops following."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(
        self,
        seed: int,
        call: Callable[[AsyncTaleClient], Awaitable[common_pb2.Story]],
        *,
        include_audio: bool = False,
    ) -> Caller:
        caller = Caller(seed)
        client = self._clients[len(self.callers) % len(self._clients)]
        self.callers.append(caller)

        async def follow() -> None:
            try:
                caller.story_id = (await call(client)).id
                async with aclosing(client.watch(caller.story_id, include_audio=include_audio)) as events:
                    await _see(caller, events)
            except TaleError as error:
                caller.end = f"failure shown ({error.reason or error.code.name})"
            caller.ended = time.monotonic()

        self._tasks.append(asyncio.create_task(follow()))
        return caller


async def _see(caller: Caller, events: AsyncGenerator[gateway_pb2.StoryEvent, None]) -> None:
    async for event in events:
        kind = event.WhichOneof("event")
        if kind in {"text", "audio", "segment"}:
            caller.heard.append(time.monotonic())
        elif kind == "done":
            caller.end = named_end(event.done.story)


@asynccontextmanager
async def crowd(target: str, size: int) -> AsyncIterator[Crowd]:
    """Connects `size` callers, over as many connections as they need, and lets go of their stories at the end."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(AsyncTaleClient(target)) for _ in range(-(-size // STREAMS_A_CHANNEL))
        ]
        it = Crowd(clients)
        stack.push_async_callback(it.close)
        yield it


@dataclass(frozen=True, slots=True)
class Facts:
    """What became of a crowd's stories, by their records and by the journal of the upstreams."""

    callers: Sequence[Caller]
    journal: Mapping[str, Any]
    doubled: int
    """Stored stories that no caller has."""
    words: int
    """Words of a story, as the upstreams were set."""

    @property
    def ends(self) -> Counter[str]:
        """Returns the number of stories by their end."""
        return Counter(caller.end for caller in self.callers)

    @property
    def all_ready(self) -> bool:
        """Returns whether every story is READY."""
        return all(caller.end == READY for caller in self.callers)

    @property
    def slowest(self) -> float:
        """Returns the duration of the slowest READY story."""
        return max((caller.seconds for caller in self.callers if caller.end == READY), default=0.0)

    @property
    def median(self) -> float:
        """Returns the median duration of all stories: infinite if half of them are not READY."""
        return statistics.median(caller.seconds if caller.end == READY else math.inf for caller in self.callers)

    @property
    def arrivals(self) -> list[float]:
        """Returns when the stories became READY, in seconds after the first request."""
        begun = min(caller.began for caller in self.callers)
        return sorted(caller.ended - begun for caller in self.callers if caller.end == READY)

    @property
    def listed(self) -> str:
        """Returns the number of stories by their end."""
        return ", ".join(f"{count} {end}" for end, count in self.ends.most_common(8))

    @property
    def wall(self) -> float:
        """Returns the time from the first request to the last end."""
        begun = min(caller.began for caller in self.callers)
        return max((caller.ended for caller in self.callers if caller.ended < math.inf), default=begun) - begun

    @property
    def wrong(self) -> int:
        """Returns how many READY stories have another text or audio than the upstreams make."""
        return sum(
            caller.end == READY and not is_right(caller.story, caller.seed, self.words) for caller in self.callers
        )

    @property
    def started(self) -> int:
        """Returns the attempts of ended stories that are still in state STARTED."""
        return sum(
            attempt.outcome == common_pb2.ATTEMPT_OUTCOME_STARTED
            for caller in self.callers
            if caller.end != UNFINISHED
            for attempt in caller.story.attempts
        )

    @property
    def is_sound(self) -> bool:
        """Returns whether no READY story is wrong, none was made twice and no ledger is open."""
        return not (self.wrong or self.doubled or self.started)

    @property
    def attempts(self) -> int:
        """Returns the calls to providers in the ledgers of all stories."""
        return sum(attempt.kind in _CALLS for caller in self.callers for attempt in caller.story.attempts)

    @property
    def calls(self) -> int:
        """Returns the calls that the upstreams received to write or to speak."""
        return len(self.journal["told"]) + len(self.journal["spoken"])

    @property
    def needed(self) -> int:
        """Returns the calls that would have been enough: one for each text and each segment that was requested."""
        texts = {call["seed"] for call in self.journal["told"]}
        return len(texts) + len({call["text"] for call in self.journal["spoken"]})

    @property
    def failed(self) -> int:
        """Returns the calls that the upstreams failed on purpose."""
        return sum(bool(call["fault"]) for call in [*self.journal["told"], *self.journal["spoken"]])

    @property
    def paid_twice(self) -> int:
        """Returns the texts and segments that the upstreams delivered whole more than once."""
        told = Counter(call["seed"] for call in self.journal["told"] if call["whole"])
        spoken = Counter(call["text"] for call in self.journal["spoken"] if call["whole"])
        return sum(count > 1 for count in [*told.values(), *spoken.values()])

    @property
    def displaced(self) -> int:
        """Returns by how many places at most a READY story was overtaken, against the order of their acceptance."""
        ready = sorted((caller for caller in self.callers if caller.end == READY), key=lambda each: each.ended)
        places = {each.story_id: n for n, each in enumerate(sorted(ready, key=lambda each: each.story_id))}
        return max((n - places[each.story_id] for n, each in enumerate(ready)), default=0)
