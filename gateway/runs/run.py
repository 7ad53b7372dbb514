"""One story on its way from accepted to ready, under one lease."""

import asyncio
import contextlib
from typing import Final

import structlog

from gateway.peers.clients import ask, read_story
from gateway.peers.retry import PEER_ERRORS, classify
from gateway.runs.context import RunContext
from gateway.runs.followed_stories import ENDED
from gateway.runs.lease import LeaseLostError
from gateway.runs.ledger import now
from gateway.runs.live_story import End
from gateway.runs.narrator import Narrator
from gateway.runs.public_story import problem_of
from gateway.runs.writer import Writer
from servicekit.context import current
from servicekit.errors import DomainError, internal
from servicekit.failures import log_defect
from servicekit.ids import new_id
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

LAST_WORDS_SECONDS: Final = 2.0
"""How long a run that is stopped tries to store its ledger."""

log = structlog.get_logger(__name__)


class Run:
    """Makes one story. `task` is the run: it ends when the story does, or when it may not go on."""

    def __init__(self, context: RunContext, *, pickup_count: int) -> None:
        self.context = context
        self.ending = False
        """True once the end of the story is being stored, or is known: nothing else ends the run any more."""
        self._farewell: storage_pb2.StoryCheckpoint | None = storage_pb2.StoryCheckpoint()
        """What a run that is stopped still stores, with the ledger's news; None: nothing, the story is not its own."""
        self._pickup_count = pickup_count
        self.task = asyncio.create_task(self._run(), name=f"run-{context.live.story_id}")

    def story_ended(self, state: common_pb2.StoryState.ValueType) -> None:
        """The story has ended without the run, which stops: only the ledger is left to be stored.

        Where `state` is not an end the story is deleted or another run's, and nothing more is stored.
        """
        self._note_end(state)
        self.task.cancel()

    def _note_end(self, state: common_pb2.StoryState.ValueType) -> None:
        self.ending = True
        self._farewell = None
        if state in ENDED:
            self._farewell = storage_pb2.StoryCheckpoint(state=state)

    async def _run(self) -> None:
        """Writes, narrates and stores the story. The live story always ends, however this does."""
        try:
            await self._execute()
        except asyncio.CancelledError:
            await self._last_words()
            raise
        except Exception as error:  # noqa: BLE001 - a defect: the story is claimed again, a bounded number of times
            log.warning("run_broke", story_id=self.context.live.story_id)
            log_defect(error)
            self.context.live.finish(End.LEFT)
            await self._shorten_lease()
        finally:
            # Only the first end counts; after a hand-over the owner of the runs has said so already.
            self.context.live.finish(End.LEFT)

    async def _execute(self) -> None:
        context = self.context
        try:
            state, problems = await self._make()
            done = await self._conclude(state, problems)
        except LeaseLostError as lost:
            log.warning("lease_lost", story_id=context.live.story_id, why=str(lost))
            await self._look_what_stands()
            await self._last_words()
            return
        if done is not None:
            context.live.finish(End.DONE, done)
        log.info(
            "story_ended",
            story_id=context.live.story_id,
            state=common_pb2.StoryState.Name(state),
            characters=len(context.live.text),
            audio_bytes=context.live.audio_size,
            reasons=[problem.reason for problem in problems],
        )

    async def _make(self) -> tuple[common_pb2.StoryState.ValueType, list[common_pb2.Problem]]:
        if self._pickup_count > self.context.settings.max_pickups:
            return self._give_up(f"It was taken up {self._pickup_count} times without getting any further.")
        left = self.context.settings.run_timeout_seconds
        if (run := self.context.record.run).HasField("start_time"):
            # Since it was first claimed, by the clocks of storage and of this machine.
            left -= max(0.0, (now().ToNanoseconds() - run.start_time.ToNanoseconds()) / 1e9)
        try:
            async with asyncio.timeout(max(0.0, left)) as limit:
                return await self._write_and_narrate()
        except TimeoutError:
            if not limit.expired():
                raise
            return self._give_up("It took longer than a story may.")

    def _give_up(self, why: str) -> tuple[common_pb2.StoryState.ValueType, list[common_pb2.Problem]]:
        error = DomainError("RUN_ABANDONED", why)
        # Without a narration of its own it is that of this run, and any later one makes up for it.
        audio_id = (self.context.record.run.narration.audio_id or new_id()) if self.context.live.text_complete else ""
        return self._end_state(narrated=False), [problem_of(error, audio_id=audio_id)]

    async def _write_and_narrate(self) -> tuple[common_pb2.StoryState.ValueType, list[common_pb2.Problem]]:
        wanted = self.context.record.story.narrate
        narrated = not wanted
        try:
            async with asyncio.TaskGroup() as tasks:
                keeper = tasks.create_task(self._keep_lease())
                narrating = tasks.create_task(self._narrate()) if wanted else None
                writing = tasks.create_task(self._write())
                problem = await writing
                if narrating is not None:
                    if problem is not None:
                        narrating.cancel()
                        await asyncio.wait([narrating])
                    else:
                        problem = await narrating
                        narrated = problem is None
                keeper.cancel()
        except* LeaseLostError as lost:
            raise LeaseLostError(str(lost.exceptions[0])) from None
        return self._end_state(narrated=narrated), [] if problem is None else [problem]

    def _end_state(self, *, narrated: bool) -> common_pb2.StoryState.ValueType:
        if not self.context.live.text_complete:
            return common_pb2.STORY_STATE_FAILED
        # A story that is narrated again keeps its old audio when the new narration fails.
        if narrated or self.context.record.story.HasField("audio"):
            return common_pb2.STORY_STATE_READY
        return common_pb2.STORY_STATE_READY_WITHOUT_AUDIO

    async def _write(self) -> common_pb2.Problem | None:
        try:
            await Writer(self.context).write()
        except DomainError as error:
            return problem_of(error)
        return None

    async def _narrate(self) -> common_pb2.Problem | None:
        narrator = Narrator(self.context)
        try:
            await narrator.narrate()
        except DomainError as error:
            return problem_of(error, audio_id=narrator.audio_id)
        except LeaseLostError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever breaks the narration must not take the text with it
            log_defect(error)
            return problem_of(internal(current().request_id), audio_id=narrator.audio_id)
        return None

    async def _keep_lease(self) -> None:
        """Renews the lease while nothing else does."""
        interval = self.context.settings.lease_seconds / 3
        while True:
            await asyncio.sleep(interval)
            if self.context.lease.remaining < 2 * interval:
                try:
                    await self.context.store(storage_pb2.StoryCheckpoint())
                except DomainError as error:
                    # The lease runs out if this goes on, and ends the run then.
                    log.warning("lease_not_renewed", story_id=self.context.live.story_id, reason=error.reason)

    async def _conclude(
        self, state: common_pb2.StoryState.ValueType, problems: list[common_pb2.Problem]
    ) -> common_pb2.Story | None:
        context = self.context
        # What was stopped from within: the text failed under a narration, or the run took too long.
        context.ledger.end_all(common_pb2.ATTEMPT_OUTCOME_CANCELLED)
        checkpoint = storage_pb2.StoryCheckpoint(state=state, problems=problems)
        self.ending = True
        await context.store(checkpoint)
        context.live.set_state(state)
        if not context.live.watchers:
            return None
        try:
            record = await read_story(context.peers.storage, context.live.story_id)
        except PEER_ERRORS as error:
            # It is stored; its watchers read it from storage, and wait there if need be.
            log.warning("ended_story_not_read", story_id=context.live.story_id, reason=classify(error).reason)
            return None
        return record.story

    async def _look_what_stands(self) -> None:
        """Finds out whether the story ended without the run, or is another run's by now."""
        context = self.context
        self._note_end(common_pb2.STORY_STATE_UNSPECIFIED)
        try:
            record = await read_story(context.peers.storage, context.live.story_id, timeout=LAST_WORDS_SECONDS)
        except PEER_ERRORS as error:
            log.warning("lost_story_not_read", story_id=context.live.story_id, reason=classify(error).reason)
            return
        if record.run.lease_token == context.lease.token:
            self._note_end(record.story.state)

    async def _last_words(self) -> None:
        """Stores that the calls in flight were stopped and what the others cost, if storage takes it soon."""
        if self._farewell is None:
            return
        self.context.ledger.end_all(common_pb2.ATTEMPT_OUTCOME_CANCELLED)
        with contextlib.suppress(LeaseLostError, DomainError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self.context.store(self._farewell)

    async def _shorten_lease(self) -> None:
        """Has the lease end with the next poll, not only when it would have run out."""
        lease, settings = self.context.lease, self.context.settings
        request = storage_pb2.CheckpointStoriesRequest()
        request.checkpoints.add(story_id=lease.story_id, lease_token=lease.token)
        seconds = min(settings.pickup_interval_seconds, settings.lease_seconds)
        request.lease_duration.FromNanoseconds(int(seconds * 1e9))
        try:
            await ask(self.context.peers.storage.CheckpointStories, request)
        except PEER_ERRORS as error:
            log.warning("lease_not_shortened", story_id=lease.story_id, reason=classify(error).reason)
