"""Waits for voice providers that cannot be called now, with warnings so that the caller knows why nothing comes."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from servicekit.resilience.circuit_queue import WaitBudget
from servicekit.resilience.errors import OF_THE_PACE
from voice_service.narration.errors import may_pass, waiting_for_provider

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from servicekit.resilience.errors import ProviderError
    from tale.common.v1.common_pb2 import Problem
    from voice_service.ports import VoiceProvider
    from voice_service.synthesis.gates import Prober

_SHORTEST_PAUSE: Final = 5.0
"""Seconds; the circuit opens where calls are refused for that long and none is answered."""


class ProviderWait:
    """The time that one narration may wait for providers, in all.

    Waiting makes no call: the prober probes each circuit once a window, however many narrations wait for it.
    """

    def __init__(self, seconds: float, prober: Prober, *, deadline: float | None = None, beat: float) -> None:
        """`deadline` in seconds of the loop's clock; `beat` seconds between two warnings."""
        self._budget = WaitBudget(seconds, deadline=math.inf if deadline is None else deadline, beat=beat)
        self._prober = prober

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

    def paced(self, failures: Sequence[ProviderError]) -> ProviderError | None:
        """Returns the failure that a pause within the time that is left helps with: a call that was one too many."""
        fitting = [each for each in failures if each.kind in OF_THE_PACE and _pause_after(each) < self._budget.left]
        return min(fitting, key=_pause_after, default=None)

    async def pause(self, refused: ProviderError) -> AsyncGenerator[Problem, None]:
        """Yields a warning, and makes the pause that a provider asked for whose circuit stays closed."""
        seconds = _pause_after(refused)
        yield waiting_for_provider(refused.provider, seconds)
        await asyncio.sleep(seconds)
        self._budget.spend(seconds)

    async def wait(self, providers: Sequence[VoiceProvider]) -> AsyncGenerator[Problem, None]:
        """Yields a warning every few seconds, until a circuit of `providers` closes or no time is left."""
        async with aclosing(self._budget.wait(self._prober.watched(providers), probes=False)) as circuits:
            async for circuit in circuits:
                yield waiting_for_provider(circuit.provider, circuit.retry_after)


def _pause_after(refused: ProviderError) -> float:
    return max(refused.retry_after or 0.0, _SHORTEST_PAUSE)
