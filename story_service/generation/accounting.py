"""The books of one request: what its calls cost, and the completions that they gave."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from story_service.models.generations import Generations, Told
from story_service.ports import ModelCall, Spending

_MOST_CHARACTERS: Final = 150_000
"""Of all completions together, so that the last message stays well under a mebibyte."""


class CostLedger:
    """Notes each call and completion of a request, and learns what it can of their price."""

    def __init__(self, generations: Generations | None, *, wait: float) -> None:
        """`wait` is how long `settle` waits for what providers tell, in seconds."""
        self._generations = generations
        self._wait = wait
        self._calls: dict[str, ModelCall] = {}
        self._asked: dict[str, asyncio.Task[Told]] = {}
        self._infos: dict[str, Mapping[str, Any]] = {}
        self._completions: list[Mapping[str, Any]] = []

    @property
    def spending(self) -> Spending:
        """What all calls cost, as far as it is known now."""
        return sum((call.spending for call in self._calls.values()), Spending())

    @property
    def completions(self) -> tuple[Mapping[str, Any], ...]:
        """The completions in the order of the attempts; where they are too long, the earlier lose their text."""
        room, kept = _MOST_CHARACTERS, []
        for completion in reversed(self._completions):
            room -= _length(completion)
            kept.append(completion if room >= 0 else _without_text(completion))
        return tuple(reversed(kept))

    def note(self, call: ModelCall) -> None:
        """A call has ended. What its provider knows of it is asked for, and nobody waits for it here."""
        self._calls[call.call_id] = call
        task = self._generations.ask(call) if self._generations is not None else None
        if task is not None:
            self._asked[call.call_id] = task

    def add(self, completion: Mapping[str, Any]) -> None:
        """An attempt has ended, or was cut."""
        self._completions.append(completion)

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
            told = task.result()
            if told.info:
                self._infos[call_id] = told.info
            if told.call != self._calls[call_id]:
                self._calls[call_id] = told.call
                changed.append(told.call)
        return changed

    def generation_info(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """What was told of the last call, and of earlier ones under "earlier_generations"; empty where nothing was.

        `own` is what the last attempt itself brought, if it brought any.
        """
        last = next(reversed(self._calls), "")
        earlier = [dict(info) for call_id, info in self._infos.items() if call_id != last]
        return {**self._infos.get(last, own), **({"earlier_generations": earlier} if earlier else {})}


def _length(completion: Mapping[str, Any]) -> int:
    return sum(len(choice["message"]["content"]) for choice in completion.get("choices", ()))


def _without_text(completion: Mapping[str, Any]) -> dict[str, Any]:
    choices = [
        {**choice, "message": {**choice["message"], "content": ""}, "content_omitted": True}
        for choice in completion["choices"]
    ]
    return {**completion, "choices": choices}
