"""A ModelWriter over chat models: one attempt is one call to one model."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import structlog

from offline_writer import Outline
from servicekit.errors import DomainError
from servicekit.languages import LanguageDetector
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.limits import ProviderLimits
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import AuditLog, OutgoingCalls
from servicekit.resilience.retry import RetryPolicy
from story_service.assignment import Assignment
from story_service.chat import ChatDelta, ChatEnded, ChatModel, ChatRequest, ChatStarted, ChatTimers, ChatWorking
from story_service.errors import why
from story_service.generation.attempt_request import RequestBuilder
from story_service.generation.cost_ledger import Generations
from story_service.generation.model_answer import CallFacts, ModelAnswer
from story_service.generation.outline_attempt import OutlineAttempt
from story_service.generation.writing_attempt import WritingAttempt
from story_service.metrics import StoryMetrics
from story_service.models.states import Paces, circuit_of
from story_service.ports import AttemptItem, AttemptLoading, AttemptStarted, AttemptText, AttemptTitle, ModelCall
from story_service.prompting.variety import draw
from tale.common.v1.common_pb2 import (
    ATTEMPT_OUTCOME_CANCELLED,
    ATTEMPT_OUTCOME_FAILED,
    ATTEMPT_OUTCOME_STARTED,
    ATTEMPT_OUTCOME_SUCCEEDED,
)

_log: Final = structlog.stdlib.get_logger("story_service.writing")

ENDPOINT: Final = "chat/completions"
"""Name of the operation in audit log and metrics."""

_OK: Final = 200
LONGEST_QUEUE: Final = 100.0
"""Seconds for which a call waits for a free place before it says so."""


class ChatWriter:
    """Writes attempts with the models of one provider, each behind its own circuit breaker."""

    def __init__(
        self,
        chat: ChatModel,
        *,
        requests: RequestBuilder,
        breakers: BreakerManager,
        limits: ProviderLimits,
        generations: Generations,
        audit: AuditLog,
        metrics: StoryMetrics,
        paces: Paces,
        longest_queue: float = LONGEST_QUEUE,
        free: bool = False,
        languages: LanguageDetector | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`longest_queue`: seconds for which a call waits for a free place. `free`: its calls are not billed.

        `languages` None leaves the language of the answers unchecked.
        """
        self._chat = chat
        self._requests = requests
        self._longest_queue = longest_queue
        self._free = free
        self._generations = generations
        self._calls = OutgoingCalls(
            chat.provider, breakers=breakers, policy=RetryPolicy(retries=0), audit=audit, limits=limits
        )
        self._metrics = metrics
        self._paces = paces
        self._languages = languages
        self._now = now

    async def write(self, assignment: Assignment, *, model: str) -> AsyncGenerator[AttemptItem, None]:
        """Writes an attempt; see ModelWriter.

        Raises FAILED_PRECONDITION / COST_LIMIT or TEXT_TOO_LONG, and ProviderError for all else: TRUNCATED also for an
        answer that starts over, repeats itself or is too short, CONCURRENCY also when no slot becomes free, and
        CircuitOpenError.
        """
        given = assignment.outline
        assignment = assignment if assignment.written_so_far else replace(assignment, outline=draw(assignment))
        request, timers = self._requests.request(assignment, model), self._requests.timers(assignment)
        circuit = circuit_of(self._chat.provider, model)
        deadline = asyncio.get_running_loop().time() + min(timers.total, self._longest_queue)
        attempt: ModelAnswer | None = None
        try:
            async with self._calls.attempt(
                ENDPOINT, circuit=circuit, deadline=deadline, order=assignment.order
            ) as outgoing:
                # The reader may leave before the call is made.
                outgoing.ids["model"], outgoing.sent = model, False
                yield AttemptStarted(model=model, provider=self._chat.provider)
                started = self._attempt(assignment, model)
                yield started.call(ATTEMPT_OUTCOME_STARTED)
                if assignment.outline is not None and assignment.outline != given:
                    yield assignment.outline
                attempt, outgoing.sent, outgoing.facts = started, True, started.facts
                try:
                    async with aclosing(self._items(attempt, request, timers, outgoing.answered)) as items:
                        async for item in items:
                            yield item
                except DomainError:
                    # The provider answered; it is the story that may not continue.
                    outgoing.status = _OK
                    raise
                finally:
                    outgoing.ids["generation_id"] = attempt.generation_id
        except (ProviderError, DomainError) as error:
            if attempt is None:
                raise
            self._record(attempt, model, why(error))
            yield attempt.call(
                ATTEMPT_OUTCOME_FAILED, end_time=self._now(), error=error, estimate=self._estimate(request, attempt)
            )
            raise
        except (asyncio.CancelledError, GeneratorExit):
            if attempt is not None:
                self._given_up(attempt, request)
            raise
        self._record(attempt, model, "")
        yield attempt.call(ATTEMPT_OUTCOME_SUCCEEDED, end_time=self._now(), estimate=self._estimate(request, attempt))
        self._metrics.attempt_ended(model, attempt.seconds)
        if not assignment.written_so_far:
            self._paces.note(model, words=attempt.words, seconds=attempt.seconds)
        yield attempt.ended()

    def _attempt(self, assignment: Assignment, model: str) -> ModelAnswer:
        facts = CallFacts(model=model, provider=self._chat.provider, start_time=self._now(), free=self._free)
        if assignment.passage.plans:
            return OutlineAttempt(facts, assignment)
        return WritingAttempt(facts, assignment, languages=self._languages)

    async def _items(
        self, attempt: ModelAnswer, request: ChatRequest, timers: ChatTimers, answered: Callable[[], None]
    ) -> AsyncGenerator[AttemptLoading | Outline | AttemptTitle | AttemptText | ModelCall, None]:
        try:
            async with aclosing(self._chat.stream(request, timers)) as events:
                async for event in events:
                    if self._languages is not None and isinstance(event, ChatDelta | ChatEnded):
                        await self._languages.load()
                    for item in attempt.take(event):
                        yield item
                    if isinstance(event, ChatStarted):
                        # From here on it costs, even when its end never comes.
                        yield attempt.call(ATTEMPT_OUTCOME_STARTED)
                    if isinstance(event, ChatWorking) and event.loading:
                        yield AttemptLoading(model=request.model, provider=self._chat.provider)
                    if isinstance(event, ChatWorking) or attempt.first_token_seconds is not None:
                        answered()
                    if attempt.complete:
                        # The call ends with its stream: what is not read may still be billed.
                        break
        except ProviderError:
            for held in attempt.let_go():
                yield held
            raise

    def _given_up(self, attempt: ModelAnswer, request: ChatRequest) -> None:
        """Records a call that its reader left, and asks about its cost."""
        self._record(attempt, request.model, ProviderErrorKind.CANCELLED.name)
        self._generations.ask(
            attempt.call(ATTEMPT_OUTCOME_CANCELLED, end_time=self._now(), estimate=self._estimate(request, attempt))
        )

    def _estimate(self, request: ChatRequest, attempt: ModelAnswer) -> float:
        return self._requests.estimated_cost(request, attempt.raw_text)

    def _record(self, attempt: ModelAnswer, model: str, reason: str) -> None:
        if attempt.first_token_seconds is not None:
            self._metrics.first_token(model, attempt.first_token_seconds)
        _log.debug("attempt ended", model=model, reason=reason, characters=len(attempt.raw_text))
