"""Writes one story: models in order, each continuing where the one before was cut."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from servicekit.resilience.circuit_queue import Circuit
from servicekit.resilience.retry import RetryBudget, RetryPolicy
from story_service.assignment import Assignment
from story_service.generation.budget import CallBudget
from story_service.generation.content import Content, Delta, Title
from story_service.generation.cost_ledger import CostLedger, Generations
from story_service.generation.fallback import ModelFallback
from story_service.generation.selection import ModelSelector, Notice
from story_service.metrics import StoryMetrics
from story_service.models.names import provider_of
from story_service.ports import AttemptStarted, ModelCall, ModelWriter, Spending

_NOTICE_SECONDS: Final = 10.0
"""Seconds between two notices while a story waits for the list of models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The text is complete and verified. `content_length` in code points, `content_sha256` of the content in UTF-8.

    `model` and `provider` wrote its end; `embedded` is True where the embedded writer wrote any of it.
    """

    model: str
    provider: str
    embedded: bool
    content_length: int
    content_sha256: bytes
    spending: Spending


StoryItem: TypeAlias = AttemptStarted | Notice | Title | Delta | ModelCall | Completed


class StoryGenerator:
    """Writes stories with the given writers."""

    def __init__(
        self,
        *,
        selector: ModelSelector,
        writers: Mapping[str, ModelWriter],
        policy: RetryPolicy | None = None,
        budget: RetryBudget | None = None,
        generations: Generations | None = None,
        metrics: StoryMetrics | None = None,
        generation_info_wait: float = 3.0,
        circuit: Callable[[str], Circuit | None] = lambda _: None,
        max_calls: int = 8,
    ) -> None:
        """`writers` is by provider.

        `policy` and `budget` are for retries of the same model; `generation_info_wait` is how long the end of a story
        waits for its cost, in seconds. `circuit` returns the circuit breaker of a model, None where it has none.
        `max_calls` is how often models are called for one story.
        """
        self._selector = selector
        self._writers = dict(writers)
        self._policy = policy or RetryPolicy()
        self._budget = budget
        self._generations = generations
        self._metrics = metrics
        self._wait = generation_info_wait
        self._circuit = circuit
        self._max_calls = max_calls

    async def generate(
        self, assignment: Assignment, *, deadline: float | None = None
    ) -> AsyncGenerator[StoryItem, None]:
        """Yields AttemptStarted, notices, the title unless it is released, deltas, calls, and Completed last.

        A later ModelCall of the same id has more facts. `deadline` is on the loop's clock. Raises DomainError:
        MODEL_NOT_FOUND, INVALID_CONFIGURATION, LANGUAGE_UNSUPPORTED, TEXT_TOO_LONG, COST_LIMIT, and that of
        `story_service.errors.all_failed` when the last model has failed.
        """
        selecting = asyncio.create_task(self._selector.select(assignment), name="models of a story")
        try:
            while not (await asyncio.wait([selecting], timeout=_NOTICE_SECONDS))[0]:
                yield self._selector.waiting_notice()
        finally:
            selecting.cancel()
        selection = selecting.result()
        assignment = replace(assignment, order=asyncio.get_running_loop().time())
        content, ledger = Content(assignment), CostLedger(self._generations, wait=self._wait)
        fallback = ModelFallback(
            selection,
            content=content,
            ledger=ledger,
            writer_of=self._writer_of,
            policy=self._policy,
            calls=CallBudget(
                self._max_calls,
                self._policy.retries + 1,
                made=assignment.calls_made,
                without_text=assignment.calls_without_text,
            ),
            budget=self._budget,
            metrics=self._metrics,
            deadline=deadline,
            circuit=self._circuit,
            provider_wait=assignment.provider_wait,
        )
        async with aclosing(fallback.run()) as items:
            async for item in items:
                yield item
        for call in await ledger.settle():
            yield call
        started = fallback.outcome()
        yield Completed(
            model=started.model,
            provider=started.provider,
            embedded=fallback.embedded,
            content_length=content.length,
            content_sha256=content.sha256,
            spending=ledger.spending,
        )

    def _writer_of(self, model: str) -> ModelWriter:
        return self._writers[provider_of(model)]
