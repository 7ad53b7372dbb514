"""Passes a story from model to model until one has completed it."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from offline_writer import Outline
from servicekit.errors import DomainError
from servicekit.resilience.circuit_queue import Pause, WaitBudget
from servicekit.resilience.errors import OF_THE_PACE, CircuitOpenError, ProviderError, ProviderErrorKind
from servicekit.resilience.retry import RetryPolicy
from story_service.errors import (
    OutOfTokensError,
    PassageRefusedError,
    StoryStoppedError,
    Tried,
    all_failed,
    generation_failed,
    why,
)
from story_service.generation.budget import USELESS, CallBudget, calls_of
from story_service.generation.content import Title
from story_service.generation.selection import (
    FALLBACK,
    Selection,
    ending_notice,
    fallback_notice,
    loading_notice,
    shorter_notice,
    waiting_notice,
)
from story_service.models.names import id_at_provider, provider_of
from story_service.ports import (
    OFFLINE,
    PURPOSE,
    AttemptEnded,
    AttemptLoading,
    AttemptStarted,
    AttemptText,
    AttemptTitle,
    Missing,
    ModelCall,
    Notice,
)
from tale.common.v1.common_pb2 import ATTEMPT_OUTCOME_STARTED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping

    from servicekit.resilience.circuit_queue import Circuit
    from servicekit.resilience.retry import RetryBudget
    from story_service.assignment import Assignment
    from story_service.generation.content import Content, Delta
    from story_service.generation.cost_ledger import CostLedger
    from story_service.metrics import StoryMetrics
    from story_service.ports import ModelWriter

FallbackItem: TypeAlias = "AttemptStarted | Outline | Notice | Title | Delta | ModelCall"

_log: Final = structlog.stdlib.get_logger("story_service.generation.fallback")

_OF_THE_KEY: Final = frozenset({ProviderErrorKind.AUTH, ProviderErrorKind.QUOTA})
"""Fails for every model behind the same key."""
_LEAST_SHARE: Final = 0.5
"""Part of a wait that is not drawn at random."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What all stories are written with: `writers` by provider, and the rules by which models are called.

    `policy` is for retries of the same model and `budget` for those to all providers. `circuit` returns a model's
    circuit breaker, None where it has none. `max_calls` is how often models are called for one story, once more for its
    outline and each scene.
    """

    writers: Mapping[str, ModelWriter]
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    budget: RetryBudget | None = None
    metrics: StoryMetrics | None = None
    circuit: Callable[[str], Circuit | None] = lambda _: None
    max_calls: int = 8


class ModelFallback:
    """One story on its way through the selected models, within its budget of calls.

    A model that fails is called again after a pause, from where the story stands. The next model takes over when that
    does not help, and at once where this model is rate limited, had released text, or gave an answer of no use.

    When no model is left, those that may come back are waited for: until the circuit breaker lets a call through, or
    for a pause that grows with each failure. The story continues with the first that is back.
    """

    def __init__(
        self,
        writing: Writing,
        assignment: Assignment,
        selection: Selection,
        *,
        content: Content,
        ledger: CostLedger,
        deadline: float | None = None,
    ) -> None:
        """`deadline` is on the loop's clock."""
        self._notices = list(selection.notices)
        self._content = content
        self._ledger = ledger
        self._writers = writing.writers
        self._policy = writing.policy
        self._calls = CallBudget(
            writing.max_calls + calls_of(assignment.length_minutes),
            writing.policy.retries + 1,
            made=assignment.calls_made,
            without_text=assignment.calls_without_text,
        )
        self._budget = writing.budget
        self._metrics = writing.metrics
        self._deadline = math.inf if deadline is None else deadline
        self._circuit = writing.circuit
        self._waits = WaitBudget(assignment.provider_wait, deadline=self._deadline)
        self._selected = selection.models
        self._models = [model for model in selection.models if self._may_call(model)]
        self._tried: dict[str, Tried] = {}
        self._away: dict[Circuit, str] = {}
        """Models that may come back, by what is waited for."""
        self._began = asyncio.get_running_loop().time()
        self._attempts = 0
        self._called = False
        self._probe = False
        """True in an attempt that follows a wait."""
        self._retries = 0
        self._attempt_began = self._began
        self._text_began = content.length
        self._started: AttemptStarted | None = None
        self._complete = content.is_told
        self.embedded = False
        """True where the embedded writer wrote any of it."""

    def outcome(self) -> AttemptStarted:
        """Returns the model that completed the story. Raises DomainError where all failed."""
        if not self._complete:
            failure = all_failed(list(self._tried.values()), called=self._calls.any_made)
            _log.error("all models failed", reason=failure.reason, models=len(self._tried), attempts=self._attempts)
            raise failure
        # Of a story that was continued when its calls were used up no model is known.
        return self._started or AttemptStarted(model=self._selected[0], provider="")

    async def run(self) -> AsyncGenerator[FallbackItem, None]:
        """Writes, with as many models as it takes. Raises DomainError for what no other model can fix."""
        try:
            while self._models and not self._complete:
                async with aclosing(self._model(self._models.pop(0))) as items:
                    async for item in items:
                        yield item
                for ending in self._without_more() if self._models in ([], [OFFLINE]) else ():
                    yield ending
                if not self._models and not self._complete:
                    async with aclosing(self._wait()) as notices:
                        async for notice in notices:
                            yield notice
            left = [self._calls.may_call(model) for model in self._selected if model != OFFLINE]
            ends = self._content.can_end(one_used_up=not all(left), all_used_up=not any(left))
            if not self._complete and ends:
                self._complete = True
                for last in self._good_night():
                    yield last
            if self._complete and self._content.is_short:
                asked, written = self._content.words_asked, self._content.words
                yield shorter_notice(self.outcome().model, asked=asked, written=written)
        finally:
            if self._metrics is not None:
                self._metrics.request_ended(self._retries)

    def _may_call(self, model: str) -> bool:
        return model == OFFLINE or self._calls.may_call(model)

    async def _model(self, model: str) -> AsyncGenerator[FallbackItem, None]:
        """Yields the items of all attempts of one model until it has to be waited for."""
        before, circuit = self._attempts, self._circuit(model)
        answers = _answers_of(circuit)
        if self._budget is not None and model != OFFLINE:
            self._budget.earn()
        failure: ProviderError | DomainError | None = None
        while not self._complete and self._may_call(model):
            failure = None
            try:
                async with aclosing(self._attempt(model)) as items:
                    async for item in items:
                        yield item
            except StoryStoppedError:
                raise
            except (ProviderError, DomainError) as error:
                failure = error
                self._note(model, error)
                for item in self._without_more() if isinstance(error, (*USELESS, DomainError)) else ():
                    yield item
                    failure = None
            if failure is None:
                # What it writes next begins with all its tries.
                before, answers = self._attempts, _answers_of(circuit)
            elif (pause := self._pause(model, failure)) is not None:
                await asyncio.sleep(pause)
            else:
                break
        if failure is not None:
            self._failed(model, failure, answers=answers, attempts=self._attempts - before)

    async def _attempt(self, model: str) -> AsyncGenerator[FallbackItem, None]:
        self._called, self._attempt_began = False, asyncio.get_running_loop().time()
        self._text_began = self._content.length
        if self._content.has_cost_limit:
            for call in await self._ledger.settle():
                yield call
        known = self._content.outline
        assignment = self._content.begin_attempt(
            self._ledger.spending, calls_left=self._calls.left, alone=OFFLINE not in self._selected
        )
        if self._content.outline is not None and self._content.outline != known:
            yield self._content.outline
        ended: AttemptEnded | None = None
        async with aclosing(
            self._writers[provider_of(model)].write(assignment, model=id_at_provider(model))
        ) as attempt:
            async for item in attempt:
                if isinstance(item, AttemptEnded):
                    ended = item
                    break
                for out in self._items_of(item):
                    yield out
        for out in self._ended(model, ended):
            yield out

    def _items_of(
        self, item: AttemptStarted | AttemptLoading | Outline | Notice | AttemptTitle | AttemptText | ModelCall
    ) -> Iterator[FallbackItem]:
        """Yields what the caller gets of `item`."""
        match item:
            case AttemptStarted():
                yield from self._started_items(item)
            case Outline():
                self._content.outline = item
                yield item
            case Notice():
                yield item
            case AttemptLoading() if self._waits.notice_due():
                yield loading_notice(item.model, provider=item.provider)
            case AttemptTitle() | AttemptText():
                piece = self._content.release(item)
                if piece is not None:
                    self.embedded = self.embedded or self._is_embedded()
                    yield piece
                if isinstance(piece, Title) and self._content.outline is not None:
                    yield self._content.outline
            case ModelCall():
                call = item if PURPOSE in item.metadata else self._writing_call(item)
                if call.outcome != ATTEMPT_OUTCOME_STARTED:
                    self._ledger.note(call)
                yield call

    def _writing_call(self, call: ModelCall) -> ModelCall:
        metadata = {**call.metadata, "probe": "true"} if self._probe else call.metadata
        return replace(call, characters=self._content.length - self._text_began, metadata=metadata)

    def _started_items(self, started: AttemptStarted) -> Iterator[FallbackItem]:
        self._called = True
        self._attempts += 1
        if not started.embedded:
            self._calls.began()
        # A retried model has been announced already.
        if self._started != started:
            self._started = started
            yield started
        notices, self._notices = self._notices, []
        yield from notices

    def _ended(self, model: str, ended: AttemptEnded | None) -> Iterator[Delta | Notice | Outline]:
        """Notes that an attempt has written what it was to; yields what follows from it."""
        if self._started is None or ended is None:
            raise generation_failed("TRUNCATED", "The model's answer was cut.")
        self._content.verify(ended)
        self._calls.succeeded(model)
        self._probe = False
        self._complete = ended.missing is Missing.NOTHING
        self.embedded = self.embedded or self._is_embedded()
        if ended.ending_missing:
            yield from self._good_night()
        outline = self._content.close_passage(ended.missing, ending=ended.ending)
        if outline is not None:
            yield outline
        if self._complete:
            _log.info(
                "story written",
                model=self._started.model,
                characters=self._content.length,
                seconds=round(asyncio.get_running_loop().time() - self._began, 3),
                attempts=self._attempts,
                models_failed=len(self._tried),
            )

    def _good_night(self) -> Iterator[Delta | Notice]:
        """Yields the end of a story that has none of its own, and says so."""
        yield ending_notice(self.outcome().model)
        words = self._content.say_good_night()
        if words is not None:
            yield words

    def _is_embedded(self) -> bool:
        return self._started is not None and self._started.embedded

    def _without_more(self) -> Iterator[Delta | Outline]:
        """Ends the passage with the ending that was held where no attempt has written more before it."""
        ending = self._content.take_ending()
        if ending is not None:
            self._complete = self._content.passage.last
            outline = self._content.close_passage(Missing.NOTHING if self._complete else Missing.SCENE)
            yield ending
            if outline is not None:
                yield outline

    def _note(self, model: str, error: ProviderError | DomainError) -> None:
        """Counts a failed attempt, and notes for what its model failed first."""
        self._content.note_failed(error)
        before = self._tried.get(model) or Tried(model, error, 0)
        cause = error if _says_more(error, before.error) else before.error
        self._tried[model] = Tried(model, cause, before.calls + self._called)
        if not self._called:
            # What it waited for was a free place.
            self._waits.spend(asyncio.get_running_loop().time() - self._attempt_began)
        elif not self._is_embedded():
            self._calls.failed(model, error, text=self._content.attempt_has_text, probe=self._probe)
        self._probe = False

    def _pause(self, model: str, error: ProviderError | DomainError) -> float | None:
        """Returns the seconds after which the same model is called again; None where it is replaced or waited for."""
        if not isinstance(error, ProviderError) or not self._is_retried(model, error):
            return None
        pause = self._policy.pause(error, max(1, self._calls.tries(model)))
        if asyncio.get_running_loop().time() + pause >= self._deadline:
            return None
        if self._budget is not None and model != OFFLINE and not self._budget.spend():
            return None
        self._retries += 1
        _log.warning("model retried", model=model, kind=error.kind.value, wait_seconds=round(pause, 3))
        return pause

    def _is_retried(self, model: str, error: ProviderError) -> bool:
        if not (self._called and error.retryable and self._may_call(model)) or self._calls.tries_used_up(model):
            return False
        if (error.retry_after or 0.0) > self._policy.longest_wait:
            return False
        text = self._content.attempt_has_text
        if (isinstance(error, OutOfTokensError) and text) or isinstance(error, PassageRefusedError):
            # It wrote as much as one answer may have, or rewrites what was refused.
            return True
        if self._models:
            stays = self._models == [OFFLINE] or not (text or isinstance(error, USELESS))
            return stays and error.kind not in OF_THE_PACE
        return self._waits.left <= 0 or not self._is_open(model)

    async def _wait(self) -> AsyncGenerator[Notice, None]:
        """Waits for the first of the models that may come back, and selects it; yields a notice every few seconds."""
        away = {waited: model for waited, model in self._away.items() if self._may_call(model)}
        async with aclosing(self._waits.wait(away)) as notices:
            async for first in notices:
                model = away[first]
                cause = self._tried[model].error.message
                yield waiting_notice(model, provider=first.provider, seconds=first.retry_after, why=cause)
        if self._waits.ready is not None:
            self._models, self._probe = [self._away.pop(self._waits.ready)], True
        # The story continues with one that was announced, or that replaces none.
        self._notices = [notice for notice in self._notices if notice.reason != FALLBACK]

    def _failed(self, model: str, error: ProviderError | DomainError, *, answers: int, attempts: int) -> None:
        """Notes that `model` is not called again, or only after a wait; `answers` of its circuit before `attempts`."""
        circuit = self._circuit(model)
        if circuit is not None and self._called and isinstance(error, ProviderError):
            circuit.tries_ended(error, answers=answers, used_up=attempts > self._policy.retries)
        if (waited := self._waited_for(model, error)) is not None:
            self._away[waited] = model
        if isinstance(error, ProviderError):
            if error.kind in _OF_THE_KEY:
                provider = provider_of(model)
                self._models = [name for name in self._models if provider_of(name) != provider]
                self._away = {waited: name for waited, name in self._away.items() if provider_of(name) != provider}
            elif not error.treatment.fail_over:
                self._models, self._away = [], {}
        self._models = [name for name in self._models if self._may_call(name)]
        if not self._models:
            return
        following, reason = self._models[0], why(error)
        _log.warning("model fallback", model=following, failed_model=model, reason=reason)
        if self._metrics is not None:
            self._metrics.fell_back(model, reason)
        self._notices.append(fallback_notice(following, failed=model, reason=reason))

    def _waited_for(self, model: str, error: ProviderError | DomainError) -> Circuit | None:
        """Returns what the model is waited for by; None where it is not worth a wait."""
        if not isinstance(error, ProviderError) or isinstance(error, USELESS):
            return None
        refused = not self._called and (
            isinstance(error, CircuitOpenError) or error.kind is ProviderErrorKind.CONCURRENCY
        )
        if not refused and not (self._called and error.retryable):
            return None
        if self._is_open(model):
            return self._circuit(model)
        tries = self._calls.tries(model)
        return Pause(error.provider, 0.0 if refused else self._policy.pause(error, max(1, tries), least=_LEAST_SHARE))

    def _is_open(self, model: str) -> bool:
        circuit = self._circuit(model)
        return circuit is not None and circuit.state != "closed"


def _answers_of(circuit: Circuit | None) -> int:
    return 0 if circuit is None else circuit.answers


def _says_more(error: ProviderError | DomainError, before: ProviderError | DomainError) -> bool:
    """Returns whether `error` says more of why a model failed than the first that it failed for.

    That no call could be made says least, and what no other call can change says most.
    """
    if isinstance(before, CircuitOpenError):
        return True
    return before.retryable and not error.retryable and not isinstance(error, CircuitOpenError)
