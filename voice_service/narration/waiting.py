"""Waits for voice providers that cannot be called now, with warnings so that the caller knows why nothing comes."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from servicekit.resilience.circuit_queue import WaitBudget
from servicekit.resilience.errors import OF_THE_PACE, CircuitOpenError
from voice_service.narration.errors import may_pass, waiting_for_provider

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from servicekit.resilience.errors import ProviderError
    from tale.common.v1.common_pb2 import Problem
    from voice_service.ports import VoiceProvider
    from voice_service.synthesis.gates import Prober

_SHORTEST_PAUSE: Final = 5.0
"""Seconds; the circuit opens where calls are refused for that long and none is answered."""
_PAUSE: Final = 30.0
"""Seconds after which a segment is sent again whose calls failed though the circuit is closed."""
_LONGEST_PAUSE: Final = 120.0


class ProviderWait:
    """The time that one narration may wait for providers, from one segment to the next.

    Waiting makes no call: the prober probes each circuit once a window, however many narrations wait for it.
    """

    def __init__(self, seconds: float, prober: Prober, *, deadline: float | None = None, beat: float) -> None:
        """`deadline` in seconds of the loop's clock; `beat` seconds between two warnings."""
        self._budget = WaitBudget(seconds, deadline=math.inf if deadline is None else deadline, beat=beat)
        self._prober = prober
        self._beat = beat

    def progressed(self) -> None:
        """Notes that a segment was made: it may wait as long again."""
        self._budget.refill()

    def awaited(self, providers: Sequence[VoiceProvider]) -> list[VoiceProvider]:
        """Returns those whose circuits may close within the time that is left.

        None is one that no wait helps with, such as one whose plan is used up.
        """
        left = self._budget.left
        refusals = [(each, self._prober.refusal(each)) for each in providers]
        return [
            each
            for each, refusal in refusals
            if refusal is not None and may_pass(refusal) and (refusal.retry_after or 0.0) < left
        ]

    def paced(self, failures: Sequence[ProviderError], again: int = 0) -> tuple[float, str] | None:
        """Returns the shortest pause within the time that is left after which another call may help, and the provider.

        It is longer the more often, `again`, a call has failed after one.
        """
        pauses = ((_pause_after(each, again), each.provider) for each in failures if _passes(each))
        return min((pause for pause in pauses if pause[0] < self._budget.left), default=None)

    async def pause(self, seconds: float, provider: str) -> AsyncGenerator[Problem, None]:
        """Yields warnings while it makes a pause for a provider whose circuit stays closed."""
        self._budget.spend(seconds)
        while seconds > 0:
            yield waiting_for_provider(provider, seconds)
            await asyncio.sleep(min(seconds, self._beat))
            seconds -= self._beat

    async def wait(self, providers: Sequence[VoiceProvider]) -> AsyncGenerator[Problem, None]:
        """Yields a warning every few seconds, until a circuit of `providers` closes or no time is left."""
        async with aclosing(self._budget.wait(self._prober.watched(providers), probes=False)) as circuits:
            async for circuit in circuits:
                yield waiting_for_provider(circuit.provider, circuit.retry_after)


def _passes(failure: ProviderError) -> bool:
    return failure.kind in OF_THE_PACE or (may_pass(failure) and not isinstance(failure, CircuitOpenError))


def _pause_after(failure: ProviderError, again: int) -> float:
    named = failure.retry_after or 0.0
    least = max(named, _SHORTEST_PAUSE) if named or failure.kind in OF_THE_PACE else _PAUSE
    return max(named, min(least * 2.0**again, _LONGEST_PAUSE))
