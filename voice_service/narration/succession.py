"""The speaker of a narration, and the one that continues where it fails: the next, or the first that is back."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from servicekit.errors import DomainError
from servicekit.resilience.errors import OF_THE_PACE, CircuitOpenError
from voice_service.narration.errors import handed_over, may_pass, none_available, speech_failed
from voice_service.narration.speaker import foreign, next_speaker, replaced
from voice_service.providers.registry import Skipped

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from servicekit.resilience.errors import ProviderError
    from tale.common.v1.common_pb2 import Problem
    from voice_service.metrics import VoiceMetrics
    from voice_service.narration.admission import Place
    from voice_service.narration.intake import TextSegment
    from voice_service.narration.speaker import Speaker, SpeakerChain
    from voice_service.narration.waiting import ProviderWait
    from voice_service.synthesis.gates import Prober
    from voice_service.synthesis.synthesize import SpeechError

_MOST_WAITS: Final = 2
"""Times that a narration waits for a provider after calls for the same segment failed; other waits cost nothing."""


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
    ) -> None:
        """`closed_reason` returns by a provider's name why it is not called now."""
        self._chain = chain
        self._prober = prober
        self._closed_reason = closed_reason
        self._wait = wait
        self._place = place
        self._metrics = metrics
        self._speaker: Speaker | None = None
        self._passed: Sequence[CircuitOpenError] = ()
        self._tried: list[ProviderError] = []
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
        if not may_pass(error):
            self._chain.give_up(error.provider)
        self._tried.append(error)
        self._called |= bool(failure.calls)
        following = await self._next(is_stored)
        if following is None and not failure.calls and isinstance(error, CircuitOpenError) and self._one_is_well():
            # No call was made, and one that failed before is back, or this one.
            self._chain.start_over()
            following = await self._next(is_stored)
        while following is None:
            # A refusal that costs nothing and asks for a wait takes no try: the time that may be waited bounds it.
            self._waits[segment.index] += self._called and not all(map(_asks_to_wait, self._tried))
            failed = speech_failed(self._tried, segment.index)
            if self._waits[segment.index] > _MOST_WAITS:
                raise failed from failure
            async with aclosing(self._until_back(failed, self._tried)) as warnings:
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
        self, error: DomainError, failures: Sequence[ProviderError] = ()
    ) -> AsyncGenerator[Problem, None]:
        """Yields warnings until a provider of the chain can be called again; raises `error` where none will in time."""
        awaited, paced = self._wait.awaited(self._chain.providers), self._wait.paced(failures)
        if awaited:
            waiting = self._wait.wait(awaited)
        elif paced is not None:
            waiting = self._wait.pause(paced)
        else:
            raise error
        self.is_back = False
        # Meanwhile there is room for a narration that another provider speaks.
        self._place.leave()
        async with aclosing(waiting) as warnings:
            async for warning in warnings:
                yield warning
        self._chain.start_over()

    def _one_is_well(self) -> bool:
        return any(self._prober.refusal(each) is None for each in self._chain.providers)

    def _skipped(self, passed: CircuitOpenError) -> Skipped:
        return Skipped(passed.provider, self._closed_reason(passed.provider))


def _asks_to_wait(error: ProviderError) -> bool:
    return error.kind in OF_THE_PACE or (error.retry_after is not None and not error.billed)
