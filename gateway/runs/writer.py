"""Has the text of a story written, attempt by attempt; each continues the stored text.

Two tasks, so that text is never delayed: one reads the stream of the story service, the other stores what has arrived
and then releases it.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import grpc
import structlog

from gateway.peers.clients import STREAM_SECONDS, broken, read_alive, read_heard, read_story
from gateway.peers.retry import PEER_ERRORS, AttemptRetry, Failure, FailureKind, classify
from gateway.runs.context import RunContext, placed
from gateway.runs.waits import STORAGE, STORY_SERVICE, TEXT, PeerWait
from servicekit.errors import DomainError
from servicekit.validation import max_length
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2
from tale.story.v1 import story_pb2

MAX_CONTENT: Final = max_length(common_pb2.Story, "content")
"""Maximum number of code points of a story."""
GATHER_SECONDS: Final = 0.4
"""Seconds between checkpoints of text; a checkpoint costs the same for a word as for a line."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Inbox:
    """What has been read and is not stored yet. Bounded by the maximum length of a story."""

    outline: common_pb2.StoryOutline | None = None
    """Stored with what comes next: nothing that follows it is stored before it, and it costs no checkpoint."""
    title: str = ""
    text: str = ""
    model: str = ""
    """Model that wrote the text."""
    embedded: bool = False
    """True where the embedded writer wrote some of the text."""
    calls: bool = False
    """True where there is news of calls."""
    complete: story_pb2.GenerationComplete | None = None
    problems: list[common_pb2.Problem] = field(default_factory=list)
    closed: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    urgent: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is something that does not wait for more text."""

    def any(self) -> bool:
        known = self.closed and self.outline
        return bool(self.title or self.text or self.calls or self.complete or self.problems or known)


class Writer:
    """Writes the text of one story."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._retry = context.attempt_retry()
        self._wait = PeerWait(context.live.waits, STORY_SERVICE)
        # Storage counts the work from each request of the caller on.
        self._requested = not context.record.run.work_duration.ToNanoseconds()

    async def write(self) -> None:
        """Returns once the text is complete and stored. Raises DomainError when it cannot be completed."""
        live, ledger = self._context.live, self._context.ledger
        if live.text_complete:
            return
        parent, heard = await asyncio.gather(self._parent(), self._heard())
        while not live.text_complete:
            attempt_id = ledger.begin_attempt(
                common_pb2.ATTEMPT_KIND_WRITING,
                provider="story",
                model=self._context.record.spec.model,
                requested=self._requested,
            )
            self._requested = False
            # It waits for a storage that is away: nothing is paid that could not be stored.
            await self._context.store(storage_pb2.StoryCheckpoint(state=common_pb2.STORY_STATE_WRITING))
            self._retry.begin()
            live.set_state(common_pb2.STORY_STATE_WRITING)
            self._wait.begin()
            try:
                await self._attempt(attempt_id, parent, heard)
            except PEER_ERRORS as error:
                failure = classify(error)
                ledger.end_attempt(attempt_id, common_pb2.ATTEMPT_OUTCOME_FAILED, failure.reason)
                log.warning("writing attempt failed", story_id=live.story_id, reason=failure.reason)
                if failure.of_provider:
                    # The service has called its providers as often, and waited for them as long, as it may.
                    raise failure.error from error
                await self._retry.after(failure, waits=self._wait.failed)

    async def _parent(self) -> common_pb2.Story:
        """Returns the story that this one continues, as it is now; an empty one where there is none any more.

        While storage is away it waits: no attempt has begun.
        """
        parent_id = self._context.record.story.parent_story_id
        retry = AttemptRetry(wait_seconds=self._context.settings.peer_wait_seconds)
        with self._context.live.waits.late(STORAGE):
            while parent_id:
                try:
                    return (await read_story(self._context.peers.storage, parent_id)).story
                except PEER_ERRORS as error:
                    failure = classify(error)
                    if failure.error.code is grpc.StatusCode.NOT_FOUND:
                        break
                    log.warning("parent not read", story_id=self._context.live.story_id, reason=failure.reason)
                    away = failure.error.retryable
                    await retry.after(Failure(FailureKind.UNREACHABLE, failure.error) if away else failure)
        return common_pb2.Story()

    async def _heard(self) -> Sequence[common_pb2.StoryOutline]:
        """Returns the outlines of what the child heard; none for a planned story, or where storage does not respond."""
        live = self._context.live
        if live.outline is not None or live.text:
            return ()
        try:
            return await read_heard(self._context.peers.storage, self._context.record.story)
        except PEER_ERRORS as error:
            log.warning("heard not read", story_id=live.story_id, reason=classify(error).reason)
            return ()

    async def _attempt(
        self, attempt_id: str, parent: common_pb2.Story, heard: Sequence[common_pb2.StoryOutline]
    ) -> None:
        live, record = self._context.live, self._context.record
        request = story_pb2.GenerateStoryRequest(
            story_id=live.story_id,
            spec=record.spec,
            child=record.story.child,
            hero=record.story.hero if record.story.HasField("hero") else None,
            title_so_far=live.title,
            written_so_far=live.text,
            parent_title=parent.title,
            parent_text=parent.content,
            spent_usd=self._context.ledger.usage().cost_usd,
            outline=live.outline,
            heard=heard,
        )
        self._context.ledger.fill_calls(request)
        self._context.writing.fill(request.provider_wait)
        call = self._context.peers.story.GenerateStory(request, timeout=STREAM_SECONDS)
        inbox = _Inbox()
        reader = asyncio.create_task(self._read(call, inbox, attempt_id))
        try:
            # What came before a cut is stored as well: the failure is raised once the inbox is empty.
            while await self._take(inbox):
                began, text = asyncio.get_running_loop().time(), bool(inbox.text)
                await self._store(inbox, attempt_id)
                if text and not inbox.closed:
                    await self._gather(inbox, until=began + GATHER_SECONDS)
            await reader
        finally:
            reader.cancel()
            call.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            live.waits.end(TEXT)
        if not live.text_complete:
            raise broken("The story service ended its stream before the story was complete.")

    async def _read(self, call: AsyncIterable[story_pb2.GenerateStoryResponse], inbox: _Inbox, attempt_id: str) -> None:
        live = self._context.live
        title, text = live.title, live.text
        started = story_pb2.GenerationStarted()
        try:
            async for response in read_alive(call):
                self._wait.end()
                match response.WhichOneof("event"):
                    case "started":
                        started = response.started
                    case "outline":
                        inbox.outline = response.outline
                    case "title" if not title:
                        title = inbox.title = response.title.title
                    case "delta":
                        _check_next(response.delta, title, text)
                        text += response.delta.text
                        inbox.text += response.delta.text
                        inbox.model, inbox.embedded = started.model, inbox.embedded or started.embedded
                    case "attempt":
                        self._context.ledger.add(attempt_id, response.attempt)
                        if response.attempt.outcome == common_pb2.ATTEMPT_OUTCOME_STARTED:
                            live.waits.end(TEXT)
                        # Also of a call that has begun: after a kill it counts as made.
                        inbox.calls = True
                        inbox.urgent.set()
                    case "warning":
                        inbox.problems.append(placed(response.warning, text_length=len(text)))
                    case "complete":
                        _check_whole(response.complete, text)
                        inbox.complete = response.complete
                        inbox.urgent.set()
                inbox.ready.set()
        finally:
            inbox.closed = True
            inbox.ready.set()
            inbox.urgent.set()

    @staticmethod
    async def _take(inbox: _Inbox) -> bool:
        """Waits for something to store; returns False when nothing more will come."""
        while not inbox.any():
            if inbox.closed:
                return False
            await inbox.ready.wait()
            inbox.ready.clear()
        return True

    @staticmethod
    async def _gather(inbox: _Inbox, *, until: float) -> None:
        """Waits for more text, unless something is urgent. The first text of an attempt is stored without waiting."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await inbox.urgent.wait()

    async def _store(self, inbox: _Inbox, attempt_id: str) -> None:
        live, ledger = self._context.live, self._context.ledger
        outline, title, text, complete = inbox.outline, inbox.title, inbox.text, inbox.complete
        problems = [problem for problem in inbox.problems if self._context.new_problem(problem)]
        inbox.title, inbox.text, inbox.calls, inbox.complete, inbox.problems = "", "", False, None, []
        inbox.outline = None
        inbox.urgent.clear()
        checkpoint = storage_pb2.StoryCheckpoint(outline=outline)
        if title:
            checkpoint.title = title
        if text:
            checkpoint.text.offset = len(live.text)
            checkpoint.text.text = text
            ledger.wrote(inbox.model, len(text))
            if inbox.embedded:
                checkpoint.embedded_parts.append("writer")
        # That the embedded writer wrote is a fact of the story (`embedded_parts`), not a problem.
        checkpoint.problems.extend(problem for problem in problems if not problem.reason.startswith("EMBEDDED_"))
        if complete is not None:
            ledger.end_attempt(attempt_id, common_pb2.ATTEMPT_OUTCOME_SUCCEEDED)
            checkpoint.content_complete = True
            if self._context.record.story.narrate:
                checkpoint.state = common_pb2.STORY_STATE_NARRATING
        await self._context.store(checkpoint)
        live.outline = outline or live.outline
        if title or text:
            live.add_text(title=title, text=text)
            self._retry.progressed()
            self._context.progressed()
            live.waits.progressed(TEXT)
        for problem in problems:
            live.warn(problem)
        if complete is not None:
            if checkpoint.state:
                live.set_state(checkpoint.state)
            live.complete_text()


def _check_next(delta: story_pb2.TextDelta, title: str, text: str) -> None:
    if delta.offset != len(text) or not title:
        raise broken("The story service sent text out of order.")
    if len(text) + len(delta.text) > MAX_CONTENT:
        raise DomainError("TEXT_TOO_LONG", f"The story grew beyond {MAX_CONTENT} characters.")


def _check_whole(complete: story_pb2.GenerationComplete, text: str) -> None:
    digest = hashlib.sha256(text.encode()).digest()
    if not text.strip() or complete.content_length != len(text) or complete.content_sha256 != digest:
        raise broken("The text does not have the length and SHA-256 that the story service reports.")
