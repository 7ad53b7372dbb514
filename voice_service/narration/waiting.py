"""Waits for voice providers that cannot be called now, with warnings so that the caller knows why nothing comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from servicekit.resilience.circuit_queue import waiting_for
from voice_service.narration.errors import may_pass, waiting_for_provider

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from voice_service.narration.messages import Warned
    from voice_service.ports import VoiceProvider
    from voice_service.synthesis.gates import Prober


class ProviderWait:
    """The time that one narration may wait for providers, in all.

    Waiting makes no call: the prober probes each circuit once a window, however many narrations wait for it.
    """

    def __init__(self, seconds: float, prober: Prober, *, deadline: float | None = None, beat: float) -> None:
        """`deadline` in seconds of the loop's clock; `beat` seconds between two warnings."""
        self._seconds = seconds
        self._prober = prober
        self._deadline = deadline
        self._beat = beat

    def awaited(self, providers: Sequence[VoiceProvider]) -> list[VoiceProvider]:
        """Returns those whose circuits may close within the time that is left.

        None is one that no wait helps with, such as one whose plan is used up.
        """
        left = self._left()
        refusals = [(each, self._prober.refusal(each)) for each in providers]
        return [
            each
            for each, refusal in refusals
            if refusal is not None and may_pass(refusal) and (refusal.retry_after or 0.0) < left
        ]

    async def wait(self, providers: Sequence[VoiceProvider]) -> AsyncGenerator[Warned, None]:
        """Yields a warning at once and again and again, until a circuit of `providers` closes or no time is left."""
        clock = asyncio.get_running_loop().time
        began = clock()
        end = began + self._left()
        try:
            with waiting_for(self._prober.watched(providers), probes=False) as waiter:
                while clock() < end:
                    refusal = self._prober.refusal(providers[0])
                    seconds = 0.0 if refusal is None else refusal.retry_after or 0.0
                    yield waiting_for_provider(providers[0].metadata.name, seconds)
                    if await waiter.turn(min(self._beat, end - clock())) is not None:
                        break
        finally:
            self._seconds -= clock() - began

    def _left(self) -> float:
        if self._deadline is None:
            return self._seconds
        return min(self._seconds, self._deadline - asyncio.get_running_loop().time())
