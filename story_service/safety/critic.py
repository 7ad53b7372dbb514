"""A ModelWriter that has a scene judged while the one before it is heard, and written once more where it is weak."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from servicekit.errors import DomainError
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from story_service.assignment import ASPECTS, MAX_CONTENT_LENGTH
from story_service.errors import why
from story_service.ports import PURPOSE, AttemptEnded, AttemptItem, AttemptText, AttemptTitle, ModelCall
from story_service.prompting.variables import Data
from story_service.safety.judge import objects
from story_service.safety.ports import Noting
from tale.common.v1.common_pb2 import ATTEMPT_OUTCOME_STARTED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from story_service.assignment import Assignment
    from story_service.metrics import StoryMetrics
    from story_service.ports import AttemptItem, ModelWriter
    from story_service.safety.judge import Judge
    from story_service.safety.ports import Note

_log: Final = structlog.stdlib.get_logger("story_service.critic")

CRITIC: Final = "critic"
CRITIC_SECONDS: Final = 20.0
"""Seconds for a judgement; one that takes longer is none."""
REWRITE_SECONDS: Final = 60.0
"""Seconds from which on a second version is not waited for."""
_BEFORE: Final = 2_000
_DRAFT: Final = "draft"


class CriticWriter:
    """Judges the scenes that `writer` writes, but for the first, which is heard as it is written.

    A scene is held until it is judged. A critic that is slow, down or unclear delays it by at most `CRITIC_SECONDS`,
    and the second version by `REWRITE_SECONDS` and the longest pause of its model: then the first one is released.
    """

    def __init__(self, writer: ModelWriter, judge: Judge, *, threshold: int, metrics: StoryMetrics) -> None:
        """`threshold` is the score from 1 to 5 below which an aspect is weak."""
        self._writer = writer
        self._judge = judge
        self._threshold = threshold
        self._metrics = metrics

    async def write(self, assignment: Assignment, *, model: str) -> AsyncGenerator[AttemptItem, None]:
        """Writes an attempt; see ModelWriter."""
        writing = self._writer.write(assignment, model=model)
        passage = assignment.passage
        if passage.scene and not passage.written and not passage.plans:
            writing = self._judged(writing, assignment, model)
        async with aclosing(writing) as items:
            async for item in items:
                yield item

    async def _judged(
        self, writing: AsyncGenerator[AttemptItem, None], assignment: Assignment, model: str
    ) -> AsyncGenerator[AttemptItem, None]:
        first: list[AttemptItem] = []
        second: list[AttemptItem] = []
        try:
            async with aclosing(_held(writing, first)) as items:
                async for item in items:
                    yield item
        except (ProviderError, DomainError):
            for item in first:
                yield item
            raise
        costs = {call.call_id: call.spending.cost_usd for call in first if isinstance(call, ModelCall)}
        judging = Noting(lambda note: self._weak(assignment, first, note))
        async with aclosing(judging.calls()) as calls:
            async for call in calls:
                costs[call.call_id] = call.spending.cost_usd
                yield call
        if judging.result:
            spent = assignment.spent_usd + sum(costs.values())
            again = replace(assignment, weak=judging.result, spent_usd=spent)
            async with aclosing(self._rewritten(again, model, second)) as started:
                async for call in started:
                    yield call
        for item in _better(first, second):
            yield item

    async def _weak(self, assignment: Assignment, first: list[AttemptItem], note: Note) -> tuple[str, ...]:
        """Returns the aspects in which the scene is weak, none where the critic does not say."""
        text = "".join(item.text for item in first if isinstance(item, AttemptText)).strip()
        if not text or not self._is_affordable(assignment, text):
            return ()
        try:
            async with asyncio.timeout(CRITIC_SECONDS):
                scores = await self._judge.ask("\n\n".join(_brief(assignment, text)), _scores, note=note)
        except (ProviderError, TimeoutError) as error:
            _log.warning("scene not judged", kind=getattr(error, "kind", ProviderErrorKind.TIMEOUT).value)
            self._metrics.criticised("failed")
            return ()
        weak = tuple(aspect for aspect in ASPECTS if scores[aspect] < self._threshold)
        self._metrics.criticised("weak" if weak else "passed")
        return weak

    def _is_affordable(self, assignment: Assignment, text: str) -> bool:
        limit, most = assignment.max_cost_usd, self._judge.most_usd(checks=1, words=len(text))
        return limit is None or (most is not None and assignment.spent_usd + most <= limit)

    async def _rewritten(
        self, assignment: Assignment, model: str, second: list[AttemptItem]
    ) -> AsyncGenerator[ModelCall, None]:
        """Writes the scene again, into `second`; what fails there costs nothing but its call."""
        late = asyncio.get_running_loop().time() + REWRITE_SECONDS
        writing = self._writer.write(assignment, model=model)
        try:
            async with aclosing(_held(writing, second, until=late)) as items:
                async for item in items:
                    # It is the same attempt to whatever counts the calls of the scene.
                    if isinstance(item, ModelCall):
                        yield item
        except (ProviderError, DomainError) as error:
            _log.warning("scene not rewritten", reason=why(error))


async def _held(
    writing: AsyncGenerator[AttemptItem, None], held: list[AttemptItem], *, until: float = math.inf
) -> AsyncGenerator[AttemptItem, None]:
    """Yields what says how the writing goes, and adds all else to `held`; it is ended at the time `until`."""
    async with aclosing(writing) as items:
        async for item in items:
            late = isinstance(item, AttemptText) and asyncio.get_running_loop().time() >= until
            for each in (item, *([await items.athrow(_late())] if late else ())):
                if isinstance(each, AttemptText | AttemptTitle | AttemptEnded) or (
                    isinstance(each, ModelCall) and each.outcome != ATTEMPT_OUTCOME_STARTED
                ):
                    held.append(each)
                else:
                    yield each


def _late() -> ProviderError:
    return ProviderError(ProviderErrorKind.CANCELLED, "the second version took too long", provider=CRITIC)


def _better(first: list[AttemptItem], second: list[AttemptItem]) -> Iterator[AttemptItem]:
    """Yields the second version where it is whole, else the first; before it the calls of the other one."""
    better, other = (second, first) if second and isinstance(second[-1], AttemptEnded) else (first, second)
    for item in other:
        if isinstance(item, ModelCall):
            # Paid for, and no call without text: that of the scene is another one.
            yield replace(item, metadata={**item.metadata, PURPOSE: _DRAFT})
    yield from better


def _brief(assignment: Assignment, text: str) -> Iterator[str]:
    """Yields what the critic reads."""
    child, scenes, scene = assignment.child, assignment.scenes, assignment.passage.scene or 0
    plan = "\n".join(f"{number}. {each.purpose}" for number, each in enumerate(scenes, 1))
    yield f"Age: {'not given' if child.age is None else child.age}"
    yield f"Wish: {Data(assignment.wish, limit=_BEFORE)}"
    yield f"Moral: {Data(assignment.moral, limit=_BEFORE)}"
    yield f"Plan: {Data.of_lines(plan, first=_BEFORE, last=_BEFORE)}"
    yield f"What came before: {Data.of_lines(assignment.written_so_far, first=0, last=_BEFORE)}"
    yield f"The scene to judge, number {scene + 1} of {len(scenes)}:"
    yield str(Data.of_lines(text, first=MAX_CONTENT_LENGTH, last=0))


def _scores(answer: str) -> Mapping[str, int] | None:
    """Returns the scores in an answer, None where one is missing."""
    for scores in objects(answer):
        if all(isinstance(scores.get(aspect), int) and 1 <= scores[aspect] <= 5 for aspect in ASPECTS):
            return scores
    return None
