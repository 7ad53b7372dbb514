"""The speaker of a narration, and the one that continues where it fails: the next, or the first that is back."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING

from servicekit.errors import DomainError
from servicekit.resilience.errors import CircuitOpenError
from voice_service.narration.errors import handed_over, may_pass, none_available, speech_failed
from voice_service.narration.speaker import foreign, next_speaker, replaced
from voice_service.ports import VoiceRefusedError
from voice_service.providers.registry import Skipped
from voice_service.synthesis.budget import UsedUpError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from servicekit.resilience.errors import ProviderError
    from tale.common.v1.common_pb2 import Problem
    from voice_service.metrics import VoiceMetrics
    from voice_service.narration.admission import Place
    from voice_service.narration.intake import TextSegment
    from voice_service.narration.speaker import Speaker, SpeakerChain
    from voice_service.narration.waiting import ProviderWait
    from voice_service.synthesis.budget import CallBudget
    from voice_service.synthesis.gates import Prober
    from voice_service.synthesis.synthesize import SpeechError


class Succession:
    """Chooses who speaks the segments of one narration. What is to be warned of is yielded; DomainError is raised."""

    def __init__(
        self,
        chain: SpeakerChain,
        *,
        prober: Prober,
        closed_reason: Callable[[str], str],
        wait: ProviderWait,
        place: Place,
        metrics: VoiceMetrics,
        budget: CallBudget,
    ) -> None:
        """`closed_reason` returns by a provider's name why it is not called now."""
        self._chain = chain
        self._prober = prober
        self._closed_reason = closed_reason
        self._wait = wait
        self._place = place
        self._metrics = metrics
        self._budget = budget
        self._speaker: Speaker | None = None
        self._passed: Sequence[CircuitOpenError] = ()
        self._tried: list[ProviderError] = []
        self._causes: dict[str, ProviderError] = {}
        """What calls of providers failed for, by their names, since a segment was made."""
        self._called = False
        self._waits = Counter[int]()
        self.is_back = True
        """False after a wait for a provider, until a segment is made again."""

    @property
    def speaker(self) -> Speaker:
        """The present one. Not before `begin`."""
        if self._speaker is None:
            raise RuntimeError("no speaker is chosen yet")
        return self._speaker

    @property
    def name(self) -> str:
        """Name of the present speaker's provider; "" before the first."""
        return "" if self._speaker is None else self._speaker.name

    def made(self) -> None:
        """Notes that a segment was made."""
        self.is_back = True
        self._causes.clear()
        self._wait.progressed()

    def can_move_on(self) -> bool:
        """Returns whether the present provider cannot be called, and another one of the chain can."""
        return self._prober.refusal(self.speaker.provider) is not None and self._one_is_well()

    async def begin(self, is_stored: Callable[[Speaker], Awaitable[bool]]) -> AsyncGenerator[Problem, None]:
        """Chooses the first speaker: one that can be called, or whose beginning is stored."""
        while True:
            self._speaker, self._passed = await next_speaker(self._chain, self._prober.refusal, is_stored)
            if self._speaker is not None:
                return
            skipped = [*self._chain.skipped, *map(self._skipped, self._passed)]
            async with aclosing(self._until_back(none_available(self._passed, skipped))) as warnings:
                async for warning in warnings:
                    yield warning

    def passed_over(self) -> list[Problem]:
        """Returns warnings of those that the first speaker replaces, and of a language that it does not speak."""
        warnings = []
        for each in self._passed:
            self._metrics.fallbacks.labels(each.provider, self.speaker.name, "circuit_open").inc()
            warnings.append(replaced(self._skipped(each), self.speaker))
        strange = foreign(self.speaker)
        return [*warnings, strange] if strange else warnings

    async def continue_from(
        self, segment: TextSegment, failure: SpeechError, is_stored: Callable[[Speaker], Awaitable[bool]]
    ) -> AsyncGenerator[Problem, None]:
        """Chooses the speaker that continues from a segment which the present one failed at."""
        error = failure.error
        if isinstance(error, DomainError):
            raise error from failure
        if isinstance(error, VoiceRefusedError):
            another = await self._chain.with_another_voice(self.speaker)
            if another is not None:
                self._speaker = another
                return
        if not may_pass(error):
            self._chain.give_up(error.provider)
        if failure.calls:
            self._causes.setdefault(error.provider, error)
        self._tried.append(error)
        self._called |= bool(failure.calls)
        following = await self._next(is_stored)
        if following is None and not failure.calls and isinstance(error, CircuitOpenError) and self._one_is_well():
            # No call was made, and one that failed before is back, or this one.
            self._start_over()
            following = await self._next(is_stored)
        while following is None:
            # What the calls failed for says more than that no other can be made.
            failed = speech_failed([self._cause(each) for each in self._tried], segment.index)
            waiting = self._until_back(failed, self._tried, segment.index, again=self._waits[segment.index])
            self._waits[segment.index] += self._called
            async with aclosing(waiting) as warnings:
                async for warning in warnings:
                    yield warning
            self._called, self._tried = False, [each for each in self._tried if not may_pass(each)]
            following = await self._next(is_stored)
        if following.name != self.speaker.name:
            self._metrics.fallbacks.labels(error.provider, following.name, error.kind.value).inc()
            yield handed_over(error, following.provider.metadata.name, segment.index)
        self._speaker = following

    async def _next(self, is_stored: Callable[[Speaker], Awaitable[bool]]) -> Speaker | None:
        speaker, passed = await next_speaker(self._chain, self._prober.refusal, is_stored)
        self._tried += passed
        return speaker

    async def _until_back(
        self, error: DomainError, failures: Sequence[ProviderError] = (), segment_index: int = -1, *, again: int = 0
    ) -> AsyncGenerator[Problem, None]:
        """Yields warnings until a provider of the chain can be called again; raises `error` where none will in time.

        The segment was called in vain after `again` waits.
        """
        able = [each for each in self._chain.providers if not self._budget.of(segment_index, each.metadata.name).spent]
        names = {each.metadata.name for each in able}
        awaited = self._wait.awaited(able)
        paced = self._wait.paced([each for each in failures if each.provider in names], again)
        if awaited and not (again and paced):
            waiting = self._wait.wait(awaited)
        elif paced is not None:
            waiting = self._wait.pause(*paced)
        else:
            raise error
        self.is_back = False
        # Meanwhile there is room for a narration that another provider speaks.
        self._place.leave()
        async with aclosing(waiting) as warnings:
            async for warning in warnings:
                yield warning
        self._start_over()

    def _start_over(self) -> None:
        self._chain.start_over()
        self._budget.waited()

    def _cause(self, error: ProviderError) -> ProviderError:
        uncalled = isinstance(error, CircuitOpenError | UsedUpError)
        return self._causes.get(error.provider, error) if uncalled else error

    def _one_is_well(self) -> bool:
        return any(self._prober.refusal(each) is None for each in self._chain.providers)

    def _skipped(self, passed: CircuitOpenError) -> Skipped:
        return Skipped(passed.provider, self._closed_reason(passed.provider))
