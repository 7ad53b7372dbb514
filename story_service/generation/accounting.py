"""The ledger of one request: what its calls cost."""

import asyncio

from story_service.models.generations import Generations
from story_service.ports import ModelCall, Spending


class CostLedger:
    """Notes each call of a request, and learns what it can of their price."""

    def __init__(self, generations: Generations | None, *, wait: float) -> None:
        """`wait` is how long `settle` waits for what providers tell, in seconds."""
        self._generations = generations
        self._wait = wait
        self._calls: dict[str, ModelCall] = {}
        self._asked: dict[str, asyncio.Task[ModelCall]] = {}

    @property
    def spending(self) -> Spending:
        """What all calls cost, as far as it is known now."""
        return sum((call.spending for call in self._calls.values()), Spending())

    def note(self, call: ModelCall) -> None:
        """A call has ended. What its provider knows of it is asked for, and nobody waits for it here."""
        self._calls[call.call_id] = call
        task = self._generations.ask(call) if self._generations is not None else None
        if task is not None:
            self._asked[call.call_id] = task

    async def settle(self) -> list[ModelCall]:
        """Wait for what is asked still, for a bounded time; the calls of which more is known now."""
        if not self._asked:
            return []
        await asyncio.wait(self._asked.values(), timeout=self._wait)
        changed: list[ModelCall] = []
        done = [call_id for call_id, task in self._asked.items() if task.done()]
        for call_id in done:
            task = self._asked.pop(call_id)
            if task.cancelled():
                continue
            call = task.result()
            if call != self._calls[call_id]:
                self._calls[call_id] = call
                changed.append(call)
        return changed
