"""Makes one story, from accepted to its end, under one lease."""

import asyncio
import contextlib
from typing import Final

import structlog

from gateway.peers.clients import invoke, read_story
from gateway.peers.retry import PEER_ERRORS, classify
from gateway.runs.checkpointer import LeaseLostError
from gateway.runs.context import RunContext
from gateway.runs.followed_stories import ENDED
from gateway.runs.ledger import now
from gateway.runs.live_story import End
from gateway.runs.narrator import Narrator
from gateway.runs.writer import Writer
from servicekit.context import current, traced
from servicekit.errors import DomainError, internal
from servicekit.ids import new_id
from servicekit.logging import log_defect
from servicekit.reasons import LATER
from servicekit.tracing import REASON, STORY_ID, Tracer, Value
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

FINAL_SECONDS: Final = 2.0
"""Seconds for which a run that is stopped tries to store its ledger."""

MAX_PICKUPS: Final = 5
"""Claims without progress after which a run ends: something in the story stops every run."""

_FINAL: Final = frozenset({"CONTENT_REFUSED", "COST_LIMIT", "TEXT_TOO_LONG"})
"""Reasons for which the same story would fail again."""
_OF_THE_CALL: Final = frozenset({
    "AUDIO_CORRUPT", "CANCELLED", "CHECKPOINT_CONFLICT", "DEADLINE_EXCEEDED", "RECONNECT", "RUN_ABANDONED",
    "SEGMENT_LOST", "STORAGE_CONFLICT", "TIMEOUT", "UNIMPLEMENTED", "UPLOAD_STALLED",
})  # fmt: skip
"""Reasons whose remedy is for the caller of the method that failed, or is the call that continues."""

AUDIT: Final = structlog.stdlib.get_logger("gateway.audit")
"""The logger of lines of consequence alone, so that they can go where other lines do not."""
log = structlog.get_logger(__name__)


class _OutOfTimeError(Exception):
    """The runs of the story have worked for RUN_TIMEOUT_SECONDS."""


class Run:
    """The run of one story. `task` ends when the story does, or when the run may not continue."""

    def __init__(self, context: RunContext, *, pickup_count: int, tracer: Tracer | None = None) -> None:
        self.context = context
        self.ending = False
        """True once the end of the story is being stored, or is known: nothing else ends the run then."""
        self._final: storage_pb2.StoryCheckpoint | None = storage_pb2.StoryCheckpoint()
        """What the run stores with its ledger when it is stopped; None: nothing, another run has the story."""
        self._pickup_count = pickup_count
        self._tracer = tracer
        self.task = asyncio.create_task(self._run(), name=f"run-{context.live.story_id}")

    def story_ended(self, state: common_pb2.StoryState.ValueType) -> None:
        """Stops the run, since its story has ended at `state`; it stores its ledger before.

        If `state` is not final, the story is deleted or has another run, and the run stores nothing more.
        """
        self._note_end(state)
        self.task.cancel()

    def _note_end(self, state: common_pb2.StoryState.ValueType) -> None:
        self.ending = True
        self._final = None
        if state in ENDED:
            self._final = storage_pb2.StoryCheckpoint(state=state)

    async def _run(self) -> None:
        """Writes, narrates and stores the story. The live story ends in any case."""
        facts: dict[str, Value] = {STORY_ID: self.context.live.story_id, "tale.pickup_count": self._pickup_count}
        try:
            with traced("run", "internal", facts, tracer=self._tracer):
                await self._execute()
        except asyncio.CancelledError:
            await self._store_ledger()
            raise
        except Exception as error:  # noqa: BLE001 - a defect: the story is claimed again, a bounded number of times
            log.warning("run broke", story_id=self.context.live.story_id)
            log_defect(error)
            self.context.live.finish(End.LEFT)
            await self._shorten_lease()
        finally:
            # Only the first end counts: after a hand-over it is HANDED_OVER.
            self.context.live.finish(End.LEFT)

    async def _execute(self) -> None:
        context = self.context
        try:
            state, problems = await self._make()
            done = await self._conclude(state, problems)
        except LeaseLostError as lost:
            log.warning("lease lost", story_id=context.live.story_id, why=str(lost))
            await self._check_state()
            await self._store_ledger()
            return
        if done is not None:
            context.live.finish(End.DONE, done)
        log.info(
            "story ended",
            story_id=context.live.story_id,
            state=common_pb2.StoryState.Name(state),
            characters=len(context.live.text),
            audio_bytes=context.live.audio_size,
            reasons=[problem.reason for problem in problems],
        )
        reason = problems[0].reason if problems else ""
        context.metrics.ended(context.record.story, state, reason, context.times.seconds)
        usage = context.ledger.usage()
        if (span := current().span) is not None:
            span.note(
                {
                    "tale.state": common_pb2.StoryState.Name(state),
                    REASON: reason,
                    "tale.characters": len(context.live.text),
                    "tale.audio_bytes": context.live.audio_size,
                    "tale.cost_usd": usage.cost_usd,
                }
            )
        AUDIT.info(
            "StoryEnded",
            owner=context.record.owner,
            story_id=context.live.story_id,
            state=common_pb2.StoryState.Name(state),
            cost_usd=round(usage.cost_usd, 6),
            cost_known=usage.cost_known,
        )

    async def _make(self) -> tuple[common_pb2.StoryState.ValueType, list[common_pb2.Problem]]:
        if self._pickup_count > MAX_PICKUPS:
            return self._abandon(f"The story was claimed {self._pickup_count} times without progress.")
        try:
            return await self._write_and_narrate()
        except _OutOfTimeError:
            timeout = self.context.settings.run_timeout_seconds
            return self._abandon(f"The story took longer than RUN_TIMEOUT_SECONDS ({timeout:g}).")

    def _abandon(self, why: str) -> tuple[common_pb2.StoryState.ValueType, list[common_pb2.Problem]]:
        error = DomainError("RUN_ABANDONED", why)
        # A narration that has no id yet gets one: any later narration replaces it.
        audio_id = (self.context.record.run.narration.audio_id or new_id()) if self.context.live.text_complete else ""
        return self._end_state(narrated=False), [problem_of(error, audio_id=audio_id)]

    async def _write_and_narrate(self) -> tuple[common_pb2.StoryState.ValueType, list[common_pb2.Problem]]:
        wanted = self.context.record.story.narrate
        narrated = not wanted
        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(self._watch_lease())
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
                renewing.cancel()
        except ExceptionGroup as group:
            # Not `except*`: before Python 3.11.4 what it raises is in a group again.
            ended, others = group.split((LeaseLostError, _OutOfTimeError))
            if ended is None or others is not None:
                raise
            raise (ended.subgroup(LeaseLostError) or ended).exceptions[0] from None
        return self._end_state(narrated=narrated), [] if problem is None else [problem]

    def _end_state(self, *, narrated: bool) -> common_pb2.StoryState.ValueType:
        if not self.context.live.text_complete:
            return common_pb2.STORY_STATE_FAILED
        # A story whose new narration failed still has its old audio.
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
        except Exception as error:  # noqa: BLE001 - a defect in the narration must not cost the text
            log_defect(error)
            return problem_of(internal(current().request_id), audio_id=narrator.audio_id)
        return None

    async def _watch_lease(self) -> None:
        """Renews the lease when no other checkpoint does. Raises _OutOfTimeError when the runs have worked too long."""
        lease, settings, loop = self.context.lease, self.context.settings, asyncio.get_running_loop()
        interval = settings.lease_seconds / 3
        while (left := self._time_left()) > 0:
            # All runs wake at the same moments, so that one call renews the leases of all.
            await asyncio.sleep(min(left, interval - loop.time() % interval))
            if lease.remaining < 2 * interval:
                try:
                    await self.context.store(storage_pb2.StoryCheckpoint())
                except DomainError as error:
                    log.warning("lease not renewed", story_id=self.context.live.story_id, reason=error.reason)
                    if lease.remaining <= 0:
                        raise LeaseLostError("storage did not renew the lease") from error
        raise _OutOfTimeError

    def _time_left(self) -> float:
        context = self.context
        worked = context.lease.worked_before if context.only_waits else context.lease.worked
        return context.settings.run_timeout_seconds - worked

    async def _conclude(
        self, state: common_pb2.StoryState.ValueType, problems: list[common_pb2.Problem]
    ) -> common_pb2.Story | None:
        context = self.context
        # Of attempts that the run itself has stopped: the text failed during a narration, or the time is over.
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
            # The end is stored; its watchers read it from storage.
            log.warning("ended story not read", story_id=context.live.story_id, reason=classify(error).reason)
            return None
        return record.story

    async def _check_state(self) -> None:
        """Reads whether the story ended without the run, or has another run now."""
        context = self.context
        self._note_end(common_pb2.STORY_STATE_UNSPECIFIED)
        try:
            record = await read_story(context.peers.storage, context.live.story_id, timeout=FINAL_SECONDS)
        except PEER_ERRORS as error:
            log.warning("lost story not read", story_id=context.live.story_id, reason=classify(error).reason)
            return
        if record.run.lease_token == context.lease.token:
            self._note_end(record.story.state)

    async def _store_ledger(self) -> None:
        """Stores that calls in flight were cancelled and what the others cost, if storage responds soon."""
        if self._final is None:
            return
        self.context.ledger.end_all(common_pb2.ATTEMPT_OUTCOME_CANCELLED)
        with contextlib.suppress(LeaseLostError, DomainError, TimeoutError):
            async with asyncio.timeout(FINAL_SECONDS):
                await self.context.store(self._final)

    async def _shorten_lease(self) -> None:
        """Makes the lease expire with the next poll, so that the story is claimed soon."""
        lease, settings = self.context.lease, self.context.settings
        request = storage_pb2.CheckpointStoriesRequest()
        request.checkpoints.add(story_id=lease.story_id, lease_token=lease.token)
        seconds = min(settings.pickup_interval_seconds, settings.lease_seconds)
        request.lease_duration.FromNanoseconds(int(seconds * 1e9))
        try:
            await invoke(self.context.peers.storage.CheckpointStories, request)
        except PEER_ERRORS as error:
            log.warning("lease not shortened", story_id=lease.story_id, reason=classify(error).reason)


def problem_of(error: DomainError, *, audio_id: str = "") -> common_pb2.Problem:
    """Returns the problem that ended the narration `audio_id`, or where that is empty the text.

    Its metadata say which, so that the record shows it only as long as it stands.
    """
    return common_pb2.Problem(
        reason=error.reason,
        message=error.message,
        remedy=_remedy_of(error, "NarrateStory to narrate it again" if audio_id else "RetryStory to continue the text"),
        retryable=error.retryable,
        time=now(),
        metadata={**error.metadata, **({"audio_id": audio_id} if audio_id else {"ended": "text"})},
    )


def _remedy_of(error: DomainError, again: str) -> str:
    """Returns what the user does about an error that ended a story: its own remedy, then the call that continues."""
    if error.reason in _FINAL:
        return error.remedy
    if error.reason in _OF_THE_CALL or error.remedy == LATER:
        return f"Call {again}."
    return f"{error.remedy} Then call {again}."
