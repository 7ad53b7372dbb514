"""Writes one story: models in order, each continuing where the one before was cut."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from offline_writer import Outline
from servicekit.resilience.fairness import FairTurns
from story_service.answer.avoided import avoided_in
from story_service.assignment import Assignment
from story_service.generation.content import Content, Delta, Title
from story_service.generation.cost_ledger import CostLedger, Generations
from story_service.generation.fallback import ModelFallback, Writing
from story_service.generation.selection import ModelSelector, avoid_notice
from story_service.ports import AttemptStarted, ModelCall, Notice, RequestCheck, Spending
from tale.common.v1.common_pb2 import ATTEMPT_OUTCOME_STARTED

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


StoryItem: TypeAlias = AttemptStarted | Outline | Notice | Title | Delta | ModelCall | Completed


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryGenerator(Writing):
    """Writes stories. `generation_info_wait` is how long the end of a story waits for its cost, in seconds.

    `safety` checks what is asked for (None: nothing does); what is written is checked by the `writers` themselves.
    """

    selector: ModelSelector
    generations: Generations | None = None
    generation_info_wait: float = 3.0
    safety: RequestCheck | None = None
    turns: FairTurns = field(default_factory=FairTurns)

    async def generate(
        self, assignment: Assignment, *, deadline: float | None = None, unsettled: Iterable[ModelCall] = ()
    ) -> AsyncGenerator[StoryItem, None]:
        """Yields AttemptStarted, notices, the title unless it is released, deltas, calls, and Completed last.

        A later ModelCall of the same id has more facts. `deadline` is on the loop's clock, `unsettled` are calls of
        earlier attempts whose cost is not known, but for the estimate that `spent_usd` has. Raises DomainError:
        MODEL_NOT_FOUND, INVALID_CONFIGURATION, LANGUAGE_UNSUPPORTED, TEXT_TOO_LONG, COST_LIMIT, and that of
        `story_service.errors.all_failed` when the last model has failed; CONTENT_REFUSED.
        """
        selecting = asyncio.create_task(self.selector.select(assignment), name="models of a story")
        try:
            while not (await asyncio.wait([selecting], timeout=_NOTICE_SECONDS))[0]:
                yield self.selector.waiting_notice()
        finally:
            selecting.cancel()
        selection = selecting.result()
        with self.turns.held() as turn:
            assignment = replace(assignment, order=turn)
            ledger = CostLedger(self.generations, wait=self.generation_info_wait)
            for call in unsettled:
                ledger.note(call, earlier=True)
            # The ledger has the estimates that earlier attempts spent, until what was billed replaces them.
            earlier = max(0.0, assignment.spent_usd - ledger.spending.cost_usd)
            if self.safety is not None and not assignment.title_so_far:
                async with aclosing(self.safety.request(assignment)) as checked:
                    async for each in checked:
                        if isinstance(each, ModelCall) and each.outcome != ATTEMPT_OUTCOME_STARTED:
                            ledger.note(each)
                        yield each
            assignment = replace(assignment, spent_usd=earlier)
            content = Content(assignment)
            fallback = ModelFallback(self, assignment, selection, content=content, ledger=ledger, deadline=deadline)
            async with aclosing(fallback.run()) as items:
                async for item in items:
                    yield item
        if assignment.avoid:
            code = assignment.language_code
            if places := await asyncio.to_thread(avoided_in, content.whole, assignment.avoid, code):
                yield avoid_notice(places)
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
