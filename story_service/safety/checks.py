"""Has what is asked for and what is written checked; a check that is down is waited for, and passes nothing."""

from __future__ import annotations

import math
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from servicekit.resilience.circuit_queue import Pause, WaitBudget
from servicekit.resilience.errors import CircuitOpenError, ProviderError, ProviderErrorKind
from servicekit.resilience.retry import RetryPolicy
from story_service.answer.sentences import count_words
from story_service.errors import check_failed, cost_limit_reached, cost_unknown, request_refused
from story_service.passage import words_of
from story_service.ports import ModelCall, Notice
from story_service.safety.ports import Noting, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from story_service.assignment import Assignment
    from story_service.metrics import StoryMetrics
    from story_service.safety.ports import Note, SafetyCheck

LEAST_WORDS: Final = 25
"""Words of a passage, at least, behind the title and the first sentence of an answer."""
_FIRST_CHECKS: Final = 5
"""Of the request, the plan, the title, the first sentence, and what is left at the end."""
_BY_FILTER: Final = "content-filter"
"""Category where a content filter refuses to read the text."""
_WAITS: Final = RetryPolicy(delay=2.0, longest_wait=30.0)
"""The pauses between the tries of a check that fails; its calls have retries of their own."""


class Checks:
    """A check as stories use it. What it could not check is never passed."""

    def __init__(self, check: SafetyCheck, *, metrics: StoryMetrics) -> None:
        self._check = check
        self._metrics = metrics

    def reserved(self, assignment: Assignment) -> Assignment:
        """Returns `assignment` with what its checks may cost counted as spent, where it has a cost limit.

        Raises FAILED_PRECONDITION / COST_LIMIT where they alone exceed it, or have no known price.
        """
        limit = assignment.max_cost_usd
        if limit is None:
            return assignment
        words = max(0, words_of(assignment.length_minutes) - count_words(assignment.written_so_far))
        most = self._check.most_usd(checks=_FIRST_CHECKS + words // LEAST_WORDS, words=words)
        if most is None:
            raise cost_unknown("of the safety check")
        if assignment.spent_usd + most > limit:
            raise cost_limit_reached("of the safety check", limit=limit, spent=assignment.spent_usd, most=most)
        return replace(assignment, spent_usd=assignment.spent_usd + most)

    async def request(self, assignment: Assignment) -> AsyncGenerator[Notice | ModelCall, None]:
        """Checks what people wrote; yields its calls, and a notice while it waits.

        Raises CONTENT_REFUSED, COST_LIMIT, and the error of a check that fails.
        """
        self.reserved(assignment)
        text, waits = "\n".join(_lines(assignment)), WaitBudget(assignment.provider_wait)
        async with aclosing(self.decided(text, "request", waits)) as said:
            async for each in said:
                if not isinstance(each, Verdict):
                    yield each
                elif each.category:
                    raise request_refused(each.category)

    async def decided(
        self, text: str, subject: str, waits: WaitBudget, *, first: Verdict | ProviderError | None = None
    ) -> AsyncGenerator[Notice | ModelCall | Verdict, None]:
        """Checks `text` until there is a verdict, which comes last; before it its calls, and notices while it waits.

        `first` is what the first try gave, where there was one. Raises the error of a check that fails.
        """
        verdict, tries = first, 0
        while not isinstance(verdict, Verdict):
            if verdict is not None:
                tries += 1
                async with aclosing(self._wait(waits, verdict, tries=tries)) as notices:
                    async for notice in notices:
                        yield notice
            trying = Noting(lambda note: self.verdict(text, subject, note=note))
            async with aclosing(trying.calls()) as calls:
                async for call in calls:
                    yield call
            verdict = trying.result
        yield verdict

    async def verdict(self, text: str, subject: str, *, note: Note) -> Verdict | ProviderError:
        """Returns the verdict on `text`, or why there is none; `subject` says what it is, for the metrics."""
        try:
            verdict = await self._check.check(text, note=note)
        except ProviderError as error:
            if error.kind is not ProviderErrorKind.CONTENT_POLICY:
                self._metrics.checked(subject, "failed")
                return error
            verdict = Verdict(_BY_FILTER)
        self._metrics.checked(subject, "refused" if verdict.category else "passed")
        return verdict

    async def _wait(self, waits: WaitBudget, error: ProviderError, *, tries: int) -> AsyncGenerator[Notice, None]:
        """Waits until the check may be made again, after it failed `tries` times; yields a notice every few seconds.

        Raises the error for the caller where that is not worth it, or longer than `waits` allows.
        """
        if not (error.retryable or isinstance(error, CircuitOpenError)):
            raise check_failed(error)
        circuit = self._check.circuit
        closed = circuit.state == "closed"
        if closed and isinstance(error, CircuitOpenError):
            # Another text was waited for meanwhile.
            return
        waited = Pause(error.provider, _WAITS.pause(error, tries, least=0.5)) if closed else circuit
        async with aclosing(waits.wait([waited])) as notices:
            async for first in notices:
                yield _waiting(error, first.retry_after)
        if waits.ready is None:
            raise check_failed(error)


def _lines(assignment: Assignment) -> Iterator[str]:
    """Yields what people wrote, each on a line that says what it is; the earlier story was checked when written."""
    child, hero = assignment.child, assignment.hero
    named: dict[str, tuple[str, ...]] = {
        "Child": (child.name,),
        "Likes": child.interests,
        "Hero": () if hero is None else (hero.name,),
        "Appearance of the hero": () if hero is None else (hero.appearance,),
        "Character of the hero": () if hero is None else (*hero.personality_traits, *hero.strengths),
        "The hero likes": () if hero is None else hero.interests,
        "Wish": (assignment.wish,),
        "Theme": (assignment.theme,),
        "Moral": (assignment.moral,),
        "Note about the listener": (assignment.audience_note,),
        "Must not appear in the story": assignment.avoid,
    }
    for name, values in named.items():
        if said := ", ".join(filter(None, values)):
            yield f"{name}: {said}"


def _waiting(error: ProviderError, seconds: float) -> Notice:
    return Notice(
        reason="WAITING_FOR_PROVIDER",
        message=f"The story waits for the safety check: {error.message}. It is made again in {seconds:.0f} s.",
        metadata={
            "provider": error.provider,
            "purpose": "safety",
            "retry_after": str(math.ceil(seconds)),
            "ended": "text",
        },
    )
