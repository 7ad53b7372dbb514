"""Hands a story from attempt to attempt until one has brought it to its end."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from servicekit.errors import DomainError
from servicekit.resilience.errors import CircuitOpenError, ProviderError, ProviderErrorKind
from story_service.answer.unfit import UnfitError
from story_service.chat import OutOfTokensError
from story_service.errors import Tried, all_failed, generation_failed, why
from story_service.generation.selection import Notice, Selection, gone_on_with
from story_service.ports import (
    OFFLINE,
    AttemptEnded,
    AttemptStarted,
    AttemptText,
    AttemptTitle,
    CallOutcome,
    ModelCall,
    ModelWriter,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from servicekit.resilience.retry import RetryBudget, RetryPolicy
    from story_service.generation.accounting import CostLedger
    from story_service.generation.content import Content, Delta, Title
    from story_service.metrics import StoryMetrics

RelayItem: TypeAlias = "AttemptStarted | Notice | Title | Delta | ModelCall"

_log: Final = structlog.stdlib.get_logger("story_service.generation.relay")

_OF_THE_KEY: Final = frozenset({ProviderErrorKind.AUTH, ProviderErrorKind.QUOTA})
"""What no other model behind the same key can do better."""
_OF_THE_PACE: Final = frozenset({ProviderErrorKind.RATE, ProviderErrorKind.CONCURRENCY})
_LEAST_WAIT: Final = 0.05
_LATE_SHARE: Final = 0.1
"""Of a wait: who waits for the same circuit does not come back at the same moment."""
_OF_THE_STORY: Final = "TEXT_TOO_LONG"
"""No other attempt can fix it: what is out is out."""


class Relay:
    """One story on its way through the models of its selection.

    A model that fails is asked again as the retry policy says, from where the story stands then. The next one takes
    over when that is of no use, and at once where this one has too much to do or had begun to speak. A model whose
    answer was whole and no story, or all thought and no text, is well and paid for: it is asked once more at most, and
    only where no other one is left.
    """

    def __init__(
        self,
        selection: Selection,
        *,
        content: Content,
        books: CostLedger,
        writer_of: Callable[[str], ModelWriter],
        policy: RetryPolicy,
        budget: RetryBudget | None = None,
        metrics: StoryMetrics | None = None,
        deadline: float | None = None,
        patience: float = 10.0,
    ) -> None:
        """`deadline` is on the loop's clock; `patience` is for a circuit that is the last hope, in seconds.

        A circuit that only rests, since its provider asked for it, is waited for as long as a retry may be.
        """
        self._models = list(selection.models)
        self._notices = list(selection.notices)
        self._content = content
        self._books = books
        self._writer_of = writer_of
        self._policy = policy
        self._budget = budget
        self._metrics = metrics
        self._deadline = deadline
        self._patience = patience
        self._patience_to_rest = max(patience, policy.longest_wait)
        self._tried: list[Tried] = []
        self._began = asyncio.get_running_loop().time()
        self._attempts = 0
        self._called = False
        self._retries = 0
        self._asked_once_more = False
        self._waiting = 0.0
        self._started: AttemptStarted | None = None
        self._ended: AttemptEnded | None = None
        self.embedded = False
        """True where the embedded writer wrote any of it."""

    def outcome(self) -> tuple[AttemptStarted, AttemptEnded]:
        """Who brought the story to its end, and what was said of it. Raises DomainError where nobody did."""
        if self._started is None or self._ended is None:
            failure = all_failed(self._tried)
            _log.error("all models failed", reason=failure.reason, models=len(self._tried), attempts=self._attempts)
            raise failure
        return self._started, self._ended

    async def run(self) -> AsyncGenerator[RelayItem, None]:
        """Write, with whichever models it takes. Raises DomainError where no other could fix it."""
        try:
            while self._models and self._ended is None:
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

    async def _model(self, model: str) -> AsyncGenerator[RelayItem, None]:
        """All attempts of one model."""
        attempts = self._policy.attempts(
            budget=self._budget if model != OFFLINE else None,
            deadline=self._deadline,
            on_retry=lambda error, number, wait: self._retried(model, error, number, wait),
            may_wait=self._may_wait,
        )
        before = self._attempts
        self._asked_once_more = False
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
                # Nothing is yielded inside: tenacity would take a reader who leaves for a failure.
                with attempt:
                    if failure is not None:
                        raise failure
        except (ProviderError, DomainError) as error:
            if isinstance(error, DomainError) and error.reason == _OF_THE_STORY:
                raise
            self._failed(model, error, self._attempts - before)

    async def _attempt(self, model: str) -> AsyncGenerator[RelayItem, None]:
        self._called = False
        if self._content.may_cost_only_so_much:
            for call in await self._books.settle():
                yield call
        assignment = self._content.begin_attempt(self._books.spending)
        ended: AttemptEnded | None = None
        async with aclosing(self._writer_of(model).write(assignment, model=model)) as attempt:
            async for item in attempt:
                if isinstance(item, AttemptEnded):
                    ended = item
                    break
                for told in self._told(item):
                    yield told
        self._close(ended)

    def _told(self, item: AttemptStarted | AttemptTitle | AttemptText | ModelCall) -> Iterator[RelayItem]:
        """What the caller is told of `item`."""
        match item:
            case AttemptStarted():
                yield from self._begun(item)
            case AttemptTitle() | AttemptText():
                piece = self._content.tell(item)
                if piece is not None:
                    self.embedded = self.embedded or self._speaks_embedded()
                    yield piece
            case ModelCall():
                if item.outcome is not CallOutcome.STARTED:
                    self._books.note(item)
                yield item

    def _begun(self, started: AttemptStarted) -> Iterator[RelayItem]:
        self._called = True
        self._attempts += 1
        # Who is asked again has been announced already.
        if self._started != started:
            self._started = started
            yield started
        notices, self._notices = self._notices, []
        yield from notices

    def _speaks_embedded(self) -> bool:
        return self._started is not None and self._started.embedded

    def _close(self, ended: AttemptEnded | None) -> None:
        if self._started is None:
            raise generation_failed("TRUNCATED", "The model's answer broke off.")
        self._ended = self._content.verify(ended)
        self.embedded = self.embedded or self._speaks_embedded()
        _log.info(
            "story written",
            model=self._started.model,
            characters=self._content.length,
            seconds=round(asyncio.get_running_loop().time() - self._began, 3),
            attempts=self._attempts,
            models_failed=len(self._tried),
        )

    def _may_wait(self, error: ProviderError) -> bool:
        """Whether the same model is worth waiting for, where the table says that it may be asked again."""
        if not self._called:
            # It was waited for already: there was no room for the call.
            return False
        others = any(model != OFFLINE for model in self._models)
        if isinstance(error, OutOfTokensError) and self._content.attempt_has_text:
            # It wrote as much as one answer may have, and goes on with the next.
            return True
        if error.kind in _OF_THE_PACE:
            return not self._models
        if isinstance(error, OutOfTokensError | UnfitError) and not self._content.attempt_has_text:
            once_more = not others and not self._asked_once_more
            self._asked_once_more = True
            return once_more
        return not (self._content.attempt_has_text and others)

    def _retried(self, model: str, error: ProviderError, number: int, wait: float) -> None:
        self._retries += 1
        _log.warning("model is asked again", model=model, kind=error.kind.value, attempt=number, wait=round(wait, 3))

    def _can_sit_out(self, error: CircuitOpenError) -> bool:
        """Whether a circuit is waited for: others probe it, or it is to be left alone for a moment, or only rests."""
        asked = error.retry_after or 0.0
        wait = max(asked * (1 + _LATE_SHARE * random.random()), _LEAST_WAIT)
        end = asyncio.get_running_loop().time() + wait
        patience = self._patience_to_rest if error.resting else self._patience
        if asked > patience or (self._deadline is not None and end >= self._deadline):
            return False
        if error.resting:
            self._patience_to_rest -= wait
        else:
            self._patience -= wait
        self._waiting = wait
        return True

    def _failed(self, model: str, error: ProviderError | DomainError, attempts: int) -> None:
        if not self._models and isinstance(error, CircuitOpenError) and self._can_sit_out(error):
            # Nothing was asked, and nothing else is left.
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
        _log.warning("another model goes on", model=following, failed_model=model, reason=reason, attempts=attempts)
        if self._metrics is not None:
            self._metrics.fell_back(model, reason)
        self._notices.append(gone_on_with(following, failed=model, reason=reason))
