"""Passes a story from model to model until one has completed it."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from servicekit.errors import DomainError
from servicekit.resilience.circuit_queue import WaitBudget
from servicekit.resilience.errors import OF_THE_PACE, CircuitOpenError, ProviderError, ProviderErrorKind
from story_service.chat import OutOfTokensError
from story_service.errors import BrokenOffError, Tried, UnfitError, all_failed, generation_failed, why
from story_service.generation.selection import (
    FALLBACK,
    Notice,
    Selection,
    ending_notice,
    fallback_notice,
    loading_notice,
    waiting_notice,
)
from story_service.ports import (
    OFFLINE,
    AttemptEnded,
    AttemptLoading,
    AttemptStarted,
    AttemptText,
    AttemptTitle,
    ModelCall,
    ModelWriter,
)
from tale.common.v1.common_pb2 import ATTEMPT_OUTCOME_STARTED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from servicekit.resilience.circuit_queue import Circuit
    from servicekit.resilience.retry import RetryBudget, RetryPolicy
    from story_service.generation.content import Content, Delta, Title
    from story_service.generation.cost_ledger import CostLedger
    from story_service.metrics import StoryMetrics

FallbackItem: TypeAlias = "AttemptStarted | Notice | Title | Delta | ModelCall"

_log: Final = structlog.stdlib.get_logger("story_service.generation.fallback")

_OF_THE_KEY: Final = frozenset({ProviderErrorKind.AUTH, ProviderErrorKind.QUOTA})
"""Fails for every model behind the same key."""
_OF_THE_STORY: Final = "TEXT_TOO_LONG"
"""No other attempt can fix it: released text stays."""


class ModelFallback:
    """One story on its way through the selected models.

    A model that fails is retried by the retry policy, from where the story stands. The next model takes over when a
    retry does not help, and at once where this model is rate limited or had released text. A model whose answer was
    complete and no story, or had only thoughts, is healthy and was paid: it is retried once, and only as the last one.

    When no model is left, those whose circuit breakers are open are waited for, and the story continues with the first
    that lets a call through. A refusal for the pace or one that names a pause uses up none of the retries that are left
    for after the wait.
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
        circuit: Callable[[str], Circuit | None] = lambda _: None,
        provider_wait: float = 0.0,
    ) -> None:
        """`deadline` is on the loop's clock; `circuit` returns a model's circuit breaker.

        `provider_wait` is how long circuit breakers are waited for in all, in seconds.
        """
        self._models = list(selection.models)
        self._notices = list(selection.notices)
        self._content = content
        self._ledger = ledger
        self._writer_of = writer_of
        self._policy = policy
        self._budget = budget
        self._metrics = metrics
        self._deadline = math.inf if deadline is None else deadline
        self._circuit = circuit
        self._waits = WaitBudget(provider_wait, deadline=self._deadline)
        self._tried: dict[str, Tried] = {}
        self._away: dict[str, None] = {}
        """Models that may come back, in the order of the selection."""
        self._failures: Counter[str] = Counter()
        """Failed calls of each model since the last released text."""
        self._began = asyncio.get_running_loop().time()
        self._attempts = 0
        self._called = False
        self._retries = 0
        self._retried_once = False
        self._attempt_began = self._began
        self._started: AttemptStarted | None = None
        self._complete = False
        self.embedded = False
        """True where the embedded writer wrote any of it."""

    def outcome(self) -> AttemptStarted:
        """Returns the model that completed the story. Raises DomainError where all failed."""
        if self._started is None or not self._complete:
            failure = all_failed(list(self._tried.values()))
            _log.error("all models failed", reason=failure.reason, models=len(self._tried), attempts=self._attempts)
            raise failure
        return self._started

    async def run(self) -> AsyncGenerator[FallbackItem, None]:
        """Writes, with as many models as it takes. Raises DomainError for what no other model can fix."""
        try:
            while self._models and not self._complete:
                async with aclosing(self._model(self._models.pop(0))) as items:
                    async for item in items:
                        yield item
                if not self._models and not self._complete:
                    async with aclosing(self._wait()) as notices:
                        async for notice in notices:
                            yield notice
            if not self._complete and self._content.can_end:
                self._complete = True
                yield self._ending_missing()
        finally:
            if self._metrics is not None:
                self._metrics.request_ended(self._retries)

    async def _model(self, model: str) -> AsyncGenerator[FallbackItem, None]:
        """Yields the items of all attempts of one model."""
        policy = replace(self._policy, retries=max(0, self._policy.retries - self._failures[model]))
        attempts = policy.attempts(
            budget=self._budget if model != OFFLINE else None,
            deadline=None if math.isinf(self._deadline) else self._deadline,
            on_retry=lambda error, number, wait: self._retried(model, error, number, wait),
            may_wait=lambda error: self._may_wait(model, error),
        )
        before, circuit = self._attempts, self._circuit(model)
        answers = circuit.answers if circuit is not None else 0
        self._retried_once = False
        cause: ProviderError | DomainError | None = None
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
                    self._content.broke_off = self._content.broke_off or isinstance(error, BrokenOffError)
                    self._count(model, error)
                    # What it fails for says more than that its circuit is open afterwards.
                    cause = error if cause is None or not _only_open(error) else cause
                # Nothing is yielded inside: tenacity would count a closed generator as a failure.
                with attempt:
                    if failure is not None:
                        raise failure
        except (ProviderError, DomainError) as error:
            if isinstance(error, DomainError) and error.reason == _OF_THE_STORY:
                raise
            if circuit is not None and self._called and isinstance(error, ProviderError):
                circuit.tries_ended(error, answers=answers, used_up=self._attempts - before > self._policy.retries)
            self._failed(Tried(model, cause or error, self._attempts - before), error)

    async def _attempt(self, model: str) -> AsyncGenerator[FallbackItem, None]:
        self._called, self._attempt_began = False, asyncio.get_running_loop().time()
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
        if ended is not None and ended.ending_missing:
            yield self._ending_missing()

    def _items_of(
        self, item: AttemptStarted | AttemptLoading | AttemptTitle | AttemptText | ModelCall
    ) -> Iterator[FallbackItem]:
        """Yields what the caller gets of `item`."""
        match item:
            case AttemptStarted():
                yield from self._started_items(item)
            case AttemptLoading() if self._waits.notice_due():
                yield loading_notice(item.model, provider=item.provider)
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

    def _ending_missing(self) -> Notice:
        return ending_notice(self._started.model if self._started is not None else "")

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

    def _count(self, model: str, error: ProviderError | DomainError) -> None:
        """Counts a failed call."""
        if not self._called:
            # What it waited for was a free place.
            self._waits.spend(asyncio.get_running_loop().time() - self._attempt_began)
        elif self._content.attempt_has_text:
            self._failures[model] = 0
        elif not _costs_nothing(error):
            self._failures[model] += 1

    def _may_wait(self, model: str, error: ProviderError) -> bool:
        """Returns whether the same model is retried, where the table of errors allows a retry."""
        if not self._called:
            # It was waited for already: no slot became free.
            return False
        others = any(model != OFFLINE for model in self._models)
        if isinstance(error, OutOfTokensError) and self._content.attempt_has_text:
            # It wrote as much as one answer may have, and continues in the next.
            return True
        if not self._models and self._waits.left > 0 and self._is_open(model):
            # It is waited for, which takes no retry.
            return False
        if error.kind in OF_THE_PACE:
            return not self._models
        if isinstance(error, OutOfTokensError | UnfitError) and not self._content.attempt_has_text:
            once_more = not others and not self._retried_once
            self._retried_once = True
            return once_more
        return not (self._content.attempt_has_text and others)

    def _retried(self, model: str, error: ProviderError, number: int, wait: float) -> None:
        self._retries += 1
        _log.warning("model is retried", model=model, kind=error.kind.value, attempt=number, wait=round(wait, 3))

    async def _wait(self) -> AsyncGenerator[Notice, None]:
        """Waits for the first of the models that may come back, and selects it; yields a notice every few seconds."""
        circuits = {circuit: model for model in self._away if (circuit := self._circuit(model)) is not None}
        async with aclosing(self._waits.wait(circuits)) as notices:
            async for circuit in notices:
                yield waiting_notice(circuits[circuit], provider=circuit.provider, seconds=circuit.retry_after)
        self._models = [model for circuit, model in circuits.items() if circuit is self._waits.ready]
        # The story continues with one that was announced, or that replaces none.
        self._notices = [notice for notice in self._notices if notice.reason != FALLBACK]

    def _failed(self, tried: Tried, error: ProviderError | DomainError) -> None:
        model, before = tried.model, self._tried.get(tried.model)
        if before is not None:
            cause = before.error if _only_open(tried.error) else tried.error
            tried = Tried(model, cause, before.calls + tried.calls)
        self._tried[model] = tried
        if self._may_come_back(model, error):
            self._away[model] = None
        else:
            self._away.pop(model, None)
        if isinstance(error, ProviderError):
            if error.kind in _OF_THE_KEY:
                self._away.clear()
                self._models = [name for name in self._models if name == OFFLINE]
            elif not error.treatment.fail_over:
                self._away.clear()
                self._models = []
        if not self._models:
            return
        following, reason = self._models[0], why(error)
        _log.warning("model fallback", model=following, failed_model=model, reason=reason, attempts=tried.calls)
        if self._metrics is not None:
            self._metrics.fell_back(model, reason)
        self._notices.append(fallback_notice(following, failed=model, reason=reason))

    def _may_come_back(self, model: str, error: ProviderError | DomainError) -> bool:
        """Returns whether the model is worth a wait: its circuit is open, or it had no free place for the call."""
        if not isinstance(error, ProviderError) or isinstance(error, OutOfTokensError | UnfitError):
            return False
        if error.kind is ProviderErrorKind.CONCURRENCY and not self._called:
            return True
        return self._is_open(model)

    def _is_open(self, model: str) -> bool:
        circuit = self._circuit(model)
        return circuit is not None and circuit.state != "closed"


def _costs_nothing(error: ProviderError | DomainError) -> bool:
    """Returns whether it is a refusal for the pace, or one that named a pause: those are waited for."""
    if not isinstance(error, ProviderError):
        return False
    return error.kind in OF_THE_PACE or (error.treatment.cool_down and bool(error.retry_after))


def _only_open(error: ProviderError | DomainError) -> bool:
    return isinstance(error, CircuitOpenError) and error.kind is ProviderErrorKind.OVERLOAD
