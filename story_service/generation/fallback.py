"""Passes a story from model to model until one has completed it."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from servicekit.errors import DomainError
from servicekit.resilience.errors import CircuitOpenError, ProviderError, ProviderErrorKind
from story_service.chat import OutOfTokensError
from story_service.errors import Tried, UnfitError, all_failed, generation_failed, why
from story_service.generation.selection import Notice, Selection, fallback_notice
from story_service.ports import (
    OFFLINE,
    AttemptEnded,
    AttemptStarted,
    AttemptText,
    AttemptTitle,
    ModelCall,
    ModelWriter,
)
from tale.common.v1.common_pb2 import ATTEMPT_OUTCOME_STARTED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from servicekit.resilience.retry import RetryBudget, RetryPolicy
    from story_service.generation.content import Content, Delta, Title
    from story_service.generation.cost_ledger import CostLedger
    from story_service.metrics import StoryMetrics

FallbackItem: TypeAlias = "AttemptStarted | Notice | Title | Delta | ModelCall"

_log: Final = structlog.stdlib.get_logger("story_service.generation.fallback")

_OF_THE_KEY: Final = frozenset({ProviderErrorKind.AUTH, ProviderErrorKind.QUOTA})
"""Fails for every model behind the same key."""
_OF_THE_PACE: Final = frozenset({ProviderErrorKind.RATE, ProviderErrorKind.CONCURRENCY})
_LEAST_WAIT: Final = 0.05
_LATE_SHARE: Final = 0.1
"""Share of a wait that is random: stories that wait for one circuit breaker do not call at the same moment."""
_OF_THE_STORY: Final = "TEXT_TOO_LONG"
"""No other attempt can fix it: released text stays."""


class ModelFallback:
    """One story on its way through the selected models.

    A model that fails is retried by the retry policy, from where the story stands. The next model takes over when a
    retry does not help, and at once where this model is rate limited or had released text. A model whose answer was
    complete and no story, or had only thoughts, is healthy and was paid: it is retried once, and only as the last one.
    """

    def __init__(
        self,
        selection: Selection,
        *,
        content: Content,
        ledger: CostLedger,
        writer_of: Callable[[str], ModelWriter],
        policy: RetryPolicy,
        budget: RetryBudget | None = None,
        metrics: StoryMetrics | None = None,
        deadline: float | None = None,
        circuit_wait: float = 10.0,
    ) -> None:
        """`deadline` is on the loop's clock; `circuit_wait` is for the circuit breaker of the last model, in seconds.

        A circuit breaker that rests because its provider asked for a pause is waited for as long as a retry may be.
        """
        self._models = list(selection.models)
        self._notices = list(selection.notices)
        self._content = content
        self._ledger = ledger
        self._writer_of = writer_of
        self._policy = policy
        self._budget = budget
        self._metrics = metrics
        self._deadline = deadline
        self._circuit_wait = circuit_wait
        self._rest_wait = max(circuit_wait, policy.longest_wait)
        self._tried: list[Tried] = []
        self._began = asyncio.get_running_loop().time()
        self._attempts = 0
        self._called = False
        self._retries = 0
        self._retried_once = False
        self._waiting = 0.0
        self._started: AttemptStarted | None = None
        self._complete = False
        self.embedded = False
        """True where the embedded writer wrote any of it."""

    def outcome(self) -> AttemptStarted:
        """Returns the model that completed the story. Raises DomainError where all failed."""
        if self._started is None or not self._complete:
            failure = all_failed(self._tried)
            _log.error("all models failed", reason=failure.reason, models=len(self._tried), attempts=self._attempts)
            raise failure
        return self._started

    async def run(self) -> AsyncGenerator[FallbackItem, None]:
        """Writes, with as many models as it takes. Raises DomainError for what no other model can fix."""
        try:
            while self._models and not self._complete:
                model = self._models.pop(0)
                async with aclosing(self._model(model)) as items:
                    async for item in items:
                        yield item
                if self._waiting:
                    await asyncio.sleep(self._waiting)
                    self._waiting = 0.0
        finally:
            if self._metrics is not None:
                self._metrics.request_ended(self._retries)

    async def _model(self, model: str) -> AsyncGenerator[FallbackItem, None]:
        """Yields the items of all attempts of one model."""
        attempts = self._policy.attempts(
            budget=self._budget if model != OFFLINE else None,
            deadline=self._deadline,
            on_retry=lambda error, number, wait: self._retried(model, error, number, wait),
            may_wait=self._may_wait,
        )
        before = self._attempts
        self._retried_once = False
        try:
            async for attempt in attempts:
                failure: ProviderError | DomainError | None = None
                try:
                    async with aclosing(self._attempt(model)) as items:
                        async for item in items:
                            yield item
                except (ProviderError, DomainError) as error:
                    if isinstance(error, DomainError) and error.reason == _OF_THE_STORY:
                        raise
                    failure = error
                # Nothing is yielded inside: tenacity would count a closed generator as a failure.
                with attempt:
                    if failure is not None:
                        raise failure
        except (ProviderError, DomainError) as error:
            if isinstance(error, DomainError) and error.reason == _OF_THE_STORY:
                raise
            self._failed(model, error, self._attempts - before)

    async def _attempt(self, model: str) -> AsyncGenerator[FallbackItem, None]:
        self._called = False
        if self._content.has_cost_limit:
            for call in await self._ledger.settle():
                yield call
        assignment = self._content.begin_attempt(self._ledger.spending)
        ended: AttemptEnded | None = None
        async with aclosing(self._writer_of(model).write(assignment, model=model)) as attempt:
            async for item in attempt:
                if isinstance(item, AttemptEnded):
                    ended = item
                    break
                for out in self._items_of(item):
                    yield out
        self._close(ended)

    def _items_of(self, item: AttemptStarted | AttemptTitle | AttemptText | ModelCall) -> Iterator[FallbackItem]:
        """Yields what the caller gets of `item`."""
        match item:
            case AttemptStarted():
                yield from self._started_items(item)
            case AttemptTitle() | AttemptText():
                piece = self._content.release(item)
                if piece is not None:
                    self.embedded = self.embedded or self._is_embedded()
                    yield piece
            case ModelCall():
                if item.outcome != ATTEMPT_OUTCOME_STARTED:
                    self._ledger.note(item)
                yield item

    def _started_items(self, started: AttemptStarted) -> Iterator[FallbackItem]:
        self._called = True
        self._attempts += 1
        # A retried model has been announced already.
        if self._started != started:
            self._started = started
            yield started
        notices, self._notices = self._notices, []
        yield from notices

    def _is_embedded(self) -> bool:
        return self._started is not None and self._started.embedded

    def _close(self, ended: AttemptEnded | None) -> None:
        if self._started is None:
            raise generation_failed("TRUNCATED", "The model's answer was cut.")
        self._content.verify(ended)
        self._complete = True
        self.embedded = self.embedded or self._is_embedded()
        _log.info(
            "story written",
            model=self._started.model,
            characters=self._content.length,
            seconds=round(asyncio.get_running_loop().time() - self._began, 3),
            attempts=self._attempts,
            models_failed=len(self._tried),
        )

    def _may_wait(self, error: ProviderError) -> bool:
        """Returns whether the same model is retried, where the table of errors allows a retry."""
        if not self._called:
            # It was waited for already: no slot became free.
            return False
        others = any(model != OFFLINE for model in self._models)
        if isinstance(error, OutOfTokensError) and self._content.attempt_has_text:
            # It wrote as much as one answer may have, and continues in the next.
            return True
        if error.kind in _OF_THE_PACE:
            return not self._models
        if isinstance(error, OutOfTokensError | UnfitError) and not self._content.attempt_has_text:
            once_more = not others and not self._retried_once
            self._retried_once = True
            return once_more
        return not (self._content.attempt_has_text and others)

    def _retried(self, model: str, error: ProviderError, number: int, wait: float) -> None:
        self._retries += 1
        _log.warning("model is retried", model=model, kind=error.kind.value, attempt=number, wait=round(wait, 3))

    def _waits_for_circuit(self, error: CircuitOpenError) -> bool:
        """Returns whether a circuit breaker is waited for: it is probed, half-opens soon, or only rests."""
        asked = error.retry_after or 0.0
        wait = max(asked * (1 + _LATE_SHARE * random.random()), _LEAST_WAIT)
        end = asyncio.get_running_loop().time() + wait
        circuit_wait = self._rest_wait if error.kind is ProviderErrorKind.RATE else self._circuit_wait
        if asked > circuit_wait or (self._deadline is not None and end >= self._deadline):
            return False
        if error.kind is ProviderErrorKind.RATE:
            self._rest_wait -= wait
        else:
            self._circuit_wait -= wait
        self._waiting = wait
        return True

    def _failed(self, model: str, error: ProviderError | DomainError, attempts: int) -> None:
        if not self._models and isinstance(error, CircuitOpenError) and self._waits_for_circuit(error):
            # No call was made, and no other model is left.
            self._models = [model]
            return
        self._tried.append(Tried(model, error, attempts))
        if isinstance(error, ProviderError):
            if error.kind in _OF_THE_KEY:
                self._models = [name for name in self._models if name == OFFLINE]
            elif not error.treatment.fail_over:
                self._models = []
        if not self._models:
            return
        following, reason = self._models[0], why(error)
        _log.warning("model fallback", model=following, failed_model=model, reason=reason, attempts=attempts)
        if self._metrics is not None:
            self._metrics.fell_back(model, reason)
        self._notices.append(fallback_notice(following, failed=model, reason=reason))
