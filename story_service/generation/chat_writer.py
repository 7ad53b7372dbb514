"""A ModelWriter over chat models: one leg is one call to one model."""

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
from story_service.chat import ChatModel, ChatRequest, ChatTimers
from story_service.errors import why
from story_service.generation.attempt_request import Asking
from story_service.generation.pace import Paces
from story_service.generation.writing_attempt import Leg
from story_service.metrics import StoryMetrics
from story_service.models.generations import Generations
from story_service.ports import CallOutcome, LegItem, LegStarted, LegText, LegTitle

_log: Final = structlog.stdlib.get_logger("story_service.writing")

ENDPOINT: Final = "chat/completions"
"""Name of the operation in audit log and metrics."""

_LONGEST_QUEUE: Final = 100.0
"""Seconds. Who reads the story takes a silence of two minutes for death."""


class ChatWriter:
    """Writes legs with the models of one provider, each behind a circuit breaker of its own."""

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

    async def write(self, assignment: Assignment, *, model: str) -> AsyncGenerator[LegItem, None]:
        """Write a leg; see ModelWriter.

        Raises FAILED_PRECONDITION / COST_LIMIT or TEXT_TOO_LONG, and ProviderError for all else.

        TRUNCATED is also an answer that starts over, repeats itself or is too short; CONCURRENCY also when all slots
        stay taken; and CircuitOpenError where the model is left alone for now.
        """
        request, timers = self._asking.request(assignment, model), self._asking.timers(assignment)
        breaker = self._breakers.get(circuit_of(self._chat.provider, model), provider=self._chat.provider)
        leg: Leg | None = None
        try:
            async with self._limits.slot(asyncio.get_running_loop().time() + min(timers.total, _LONGEST_QUEUE)):
                with breaker.call() as call:
                    yield LegStarted(model=model, provider=self._chat.provider)
                    leg = Leg(assignment, model=model, provider=self._chat.provider, start_time=self._now())
                    async with aclosing(self._items(leg, request, timers, call.answered)) as items:
                        async for item in items:
                            yield item
        except (ProviderError, DomainError) as error:
            if leg is None:
                raise
            if isinstance(error, ProviderError) and error.kind is ProviderErrorKind.CONCURRENCY:
                self._limits.told_too_many()
            self._record(leg, model, (error.status if isinstance(error, ProviderError) else 200) or why(error))
            yield leg.call(CallOutcome.FAILED, end_time=self._now(), error=error, estimate=self._estimate(request, leg))
            cut = leg.cut()
            if cut is not None:
                yield cut
            raise
        except (asyncio.CancelledError, GeneratorExit):
            if leg is not None:
                self._given_up(leg, request)
            raise
        self._record(leg, model, 200)
        yield leg.call(CallOutcome.SUCCEEDED, end_time=self._now(), estimate=self._estimate(request, leg))
        self._metrics.leg_ended(model, leg.seconds)
        if not assignment.written_so_far:
            self._paces.note(model, words=leg.words, seconds=leg.seconds)
        yield leg.ended()

    async def _items(
        self, leg: Leg, request: ChatRequest, timers: ChatTimers, answered: Callable[[], None]
    ) -> AsyncGenerator[LegTitle | LegText, None]:
        async with aclosing(self._chat.stream(request, timers)) as events:
            async for event in events:
                for item in leg.take(event):
                    yield item
                if leg.first_token_seconds is not None:
                    answered()

    def _given_up(self, leg: Leg, request: ChatRequest) -> None:
        """Nobody is there to be told of the call, but it costs."""
        self._record(leg, request.model, ProviderErrorKind.CANCELLED.name)
        self._generations.ask(
            leg.call(CallOutcome.CANCELLED, end_time=self._now(), estimate=self._estimate(request, leg))
        )

    def _estimate(self, request: ChatRequest, leg: Leg) -> float:
        return self._asking.estimated_cost(request, leg.raw_text)

    def _record(self, leg: Leg, model: str, status: int | str) -> None:
        self._audit.record(
            self._chat.provider, ENDPOINT, status, leg.seconds, generation_id=leg.generation_id, model=model
        )
        if leg.first_token_seconds is not None:
            self._metrics.first_token(model, leg.first_token_seconds)
        _log.debug("attempt ended", model=model, status=status, characters=len(leg.raw_text))


def circuit_of(provider: str, model: str) -> str:
    """Name of a model's circuit breaker."""
    return f"{provider}:{model}"
