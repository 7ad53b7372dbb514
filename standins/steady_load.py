"""A steady load through the client library while something is done to a cluster, and the calls that failed."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standins.watcher import Watcher, spec
from tale.common.v1 import common_pb2
from tale_client import AsyncTaleClient, TaleError


@dataclass
class SteadyLoad:
    """What was called so far. A story counts as failed unless it was heard to its end as it is stored."""

    client: AsyncTaleClient
    failures: list[str] = field(default_factory=list)
    calls: int = 0
    stories: int = 0
    longest: float = 0.0
    """Seconds that a unary call took at most."""
    _ending: asyncio.Event = field(default_factory=asyncio.Event)
    _told: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def more_stories(self, count: int) -> None:
        """Returns once so many stories more were begun and narrated."""
        async with self._told:
            # One that has begun before is not meant.
            enough = self.stories + 2 + count
            await self._told.wait_for(lambda: self.stories >= enough or self.failures)

    async def tell(self, seed: int) -> None:
        """Tells story after story."""
        while not self._ending.is_set():
            heard = Watcher()
            try:
                async for event in self.client.tell(spec(seed), include_audio=True):
                    heard.see(event)
            except TaleError as error:
                self.failures.append(f"tell {heard.story_id}: {error!r}")
            else:
                self._check(heard)
            seed += 10
            async with self._told:
                self.stories += 1
                self._told.notify_all()

    async def call(self, seed: int) -> None:
        """Makes one unary call after the other, of each kind; every story that it creates is cancelled and deleted."""
        while not self._ending.is_set():
            story = await self._made("create", self.client.create_story(spec(seed)))
            if story is None:
                continue
            await self._made("cancel", self._cancelled(story.id))
            await self._made("get", self.client.get_story(story.id))
            await self._made("list", anext(self.client.list_stories()))
            await self._made("voices", self.client.list_voices())
            await self._made("models", self.client.list_models())
            await self._made("delete", self.client.delete_story(story.id))
            seed += 10

    async def _cancelled(self, story_id: str) -> None:
        try:
            await self.client.cancel_story(story_id)
        except TaleError as error:
            # It had ended by itself.
            if error.reason != "WRONG_STATE":
                raise

    async def _made(self, name: str, call: Awaitable[Any]) -> Any:
        self.calls += 1
        began = time.monotonic()
        try:
            return await call
        except TaleError as error:
            self.failures.append(f"{name} after {time.monotonic() - began:.1f} s: {error!r}")
        finally:
            self.longest = max(self.longest, time.monotonic() - began)
        return None

    def _check(self, heard: Watcher) -> None:
        story = heard.done
        if story is None:
            self.failures.append(f"tell {heard.story_id}: no end")
        elif story.state != common_pb2.STORY_STATE_READY:
            self.failures.append(f"tell {heard.story_id}: {story.state} {list(story.problems)}")
        elif (story.content, story.audio.sha256) != (heard.text, heard.audio_sha256):
            self.failures.append(f"tell {heard.story_id}: text or audio is not what was heard")

    def end(self) -> None:
        """Ends the load after the calls that were begun."""
        self._ending.set()


@asynccontextmanager
async def steady_load(target: str, *, tellers: int = 2) -> AsyncIterator[SteadyLoad]:
    """Runs tellers and one caller of everything else until the block ends; then waits for the calls in flight."""
    async with AsyncTaleClient(target) as client:
        load = SteadyLoad(client)
        async with asyncio.TaskGroup() as tasks:
            for seed in range(tellers):
                tasks.create_task(load.tell(seed))
            tasks.create_task(load.call(9))
            try:
                yield load
            finally:
                load.end()
