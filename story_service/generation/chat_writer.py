"""A ModelWriter over chat models: one attempt is one call to one model."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

import structlog

from servicekit.errors import DomainError
from servicekit.resilience.audit import AuditLog
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.limits import ProviderLimits
from servicekit.resilience.manager import BreakerManager
from story_service.assignment import Assignment
from story_service.chat import ChatModel, ChatRequest, ChatStarted, ChatTimers
from story_service.errors import why
from story_service.generation.attempt_request import Asking
from story_service.generation.pace import Paces
from story_service.generation.writing_attempt import WritingAttempt
from story_service.metrics import StoryMetrics
from story_service.models.generations import Generations
from story_service.ports import AttemptItem, AttemptStarted, AttemptText, AttemptTitle, CallOutcome, ModelCall

_log: Final = structlog.stdlib.get_logger("story_service.writing")

ENDPOINT: Final = "chat/completions"
"""Name of the operation in audit log and metrics."""

_LONGEST_QUEUE: Final = 100.0
"""Seconds. Who reads the story takes a silence of two minutes for death."""


class ChatWriter:
    """Writes attempts with the models of one provider, each behind a circuit breaker of its own."""

    def __init__(
        self,
        chat: ChatModel,
        *,
        asking: Asking,
        breakers: BreakerManager,
        limits: ProviderLimits,
        generations: Generations,
        audit: AuditLog,
        metrics: StoryMetrics,
        paces: Paces,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._chat = chat
        self._asking = asking
        self._breakers = breakers
        self._limits = limits
        self._generations = generations
        self._audit = audit
        self._metrics = metrics
        self._paces = paces
        self._now = now

    async def write(self, assignment: Assignment, *, model: str) -> AsyncGenerator[AttemptItem, None]:
        """Write an attempt; see ModelWriter.

        Raises FAILED_PRECONDITION / COST_LIMIT or TEXT_TOO_LONG, and ProviderError for all else.

        TRUNCATED is also an answer that starts over, repeats itself or is too short; CONCURRENCY also when all slots
        stay taken; and CircuitOpenError where the model is left alone for now.
        """
        request, timers = self._asking.request(assignment, model), self._asking.timers(assignment)
        breaker = self._breakers.get(circuit_of(self._chat.provider, model), provider=self._chat.provider)
        attempt: WritingAttempt | None = None
        try:
            async with self._limits.slot(asyncio.get_running_loop().time() + min(timers.total, _LONGEST_QUEUE)):
                with breaker.call() as call:
                    yield AttemptStarted(model=model, provider=self._chat.provider)
                    begun = WritingAttempt(
                        assignment, model=model, provider=self._chat.provider, start_time=self._now()
                    )
                    yield begun.call(CallOutcome.STARTED)
                    attempt = begun
                    async with aclosing(self._items(attempt, request, timers, call.answered)) as items:
                        async for item in items:
                            yield item
        except (ProviderError, DomainError) as error:
            if attempt is None:
                raise
            if isinstance(error, ProviderError) and error.kind is ProviderErrorKind.CONCURRENCY:
                self._limits.told_too_many()
            self._record(attempt, model, (error.status if isinstance(error, ProviderError) else 200) or why(error))
            yield attempt.call(
                CallOutcome.FAILED, end_time=self._now(), error=error, estimate=self._estimate(request, attempt)
            )
            raise
        except (asyncio.CancelledError, GeneratorExit):
            if attempt is not None:
                self._given_up(attempt, request)
            raise
        self._record(attempt, model, 200)
        yield attempt.call(CallOutcome.SUCCEEDED, end_time=self._now(), estimate=self._estimate(request, attempt))
        self._metrics.attempt_ended(model, attempt.seconds)
        if not assignment.written_so_far:
            self._paces.note(model, words=attempt.words, seconds=attempt.seconds)
        yield attempt.ended()

    async def _items(
        self, attempt: WritingAttempt, request: ChatRequest, timers: ChatTimers, answered: Callable[[], None]
    ) -> AsyncGenerator[AttemptTitle | AttemptText | ModelCall, None]:
        async with aclosing(self._chat.stream(request, timers)) as events:
            async for event in events:
                for item in attempt.take(event):
                    yield item
                if isinstance(event, ChatStarted):
                    # From here on it costs, even when its end is never heard.
                    yield attempt.call(CallOutcome.STARTED)
                if attempt.first_token_seconds is not None:
                    answered()

    def _given_up(self, attempt: WritingAttempt, request: ChatRequest) -> None:
        """Nobody is there to be told of the call, but it costs."""
        self._record(attempt, request.model, ProviderErrorKind.CANCELLED.name)
        self._generations.ask(
            attempt.call(CallOutcome.CANCELLED, end_time=self._now(), estimate=self._estimate(request, attempt))
        )

    def _estimate(self, request: ChatRequest, attempt: WritingAttempt) -> float:
        return self._asking.estimated_cost(request, attempt.raw_text)

    def _record(self, attempt: WritingAttempt, model: str, status: int | str) -> None:
        self._audit.record(
            self._chat.provider, ENDPOINT, status, attempt.seconds, generation_id=attempt.generation_id, model=model
        )
        if attempt.first_token_seconds is not None:
            self._metrics.first_token(model, attempt.first_token_seconds)
        _log.debug("attempt ended", model=model, status=status, characters=len(attempt.raw_text))


def circuit_of(provider: str, model: str) -> str:
    """Name of a model's circuit breaker."""
    return f"{provider}:{model}"
