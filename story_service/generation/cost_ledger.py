"""The costs of a story's calls, and what providers report of them later."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import structlog

from servicekit.context import without_deadline
from servicekit.logging import log_defect
from servicekit.resilience.errors import ProviderError
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import AuditLog
from story_service.chat import ChatModel
from story_service.metrics import StoryMetrics
from story_service.ports import ModelCall, Spending, money

_log: Final = structlog.stdlib.get_logger("story_service.generation.cost_ledger")

ENDPOINT: Final = "generation"
"""Name of the operation in audit log and metrics."""


class Generations:
    """Asks the providers that report them once about each generation, in the background. At most `most` at a time."""

    def __init__(
        self,
        *chats: ChatModel,
        breakers: BreakerManager,
        audit: AuditLog,
        metrics: StoryMetrics,
        timeout: float = 30.0,
        most: int = 512,
    ) -> None:
        """`timeout` is how long a provider is polled until it knows the generation, in seconds."""
        self._reporting = {
            chat.provider: (
                chat,
                breakers.protect(f"{chat.provider}:{ENDPOINT}", provider=chat.provider, endpoint=ENDPOINT, audit=audit),
            )
            for chat in chats
            if chat.reports_generations
        }
        self._metrics = metrics
        self._timeout = timeout
        self._most = most
        self._tasks: set[asyncio.Task[ModelCall]] = set()

    def ask(self, call: ModelCall, *, earlier: bool = False) -> asyncio.Task[ModelCall] | None:
        """Starts to ask about `call`; returns None where there is no report to ask for, or too many are asked about.

        The task returns the call unchanged where the provider reports nothing in time. `earlier`: it was counted as one
        of unknown cost before.
        """
        reported = call.provider in self._reporting and call.generation_id
        if not reported or len(self._tasks) >= self._most:
            if not earlier:
                self._metrics.settled(call.model, call.spending)
            return None
        # A call that was given up at its caller's deadline has a cost too.
        task = asyncio.get_running_loop().create_task(
            self._completed(call, earlier=earlier), name=f"generation {call.generation_id}", context=without_deadline()
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Stops all tasks."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _completed(self, call: ModelCall, *, earlier: bool) -> ModelCall:
        info: Mapping[str, Any] = {}
        chat, protected = self._reporting[call.provider]
        try:
            answer = await protected.run(
                lambda: chat.generation_info(call.generation_id, timeout=self._timeout),
                key=call.generation_id,
                ids={"generation_id": call.generation_id, "model": call.model},
            )
            info = answer.value
        except ProviderError as error:
            _log.info("generation cost not reported", model=call.model, kind=error.kind.value)
        except Exception as error:  # noqa: BLE001 - a story does not fail for a missing report
            log_defect(error)
        known = completed(call, info)
        if known.spending.cost_known or not earlier:
            self._metrics.settled(call.model, known.spending)
        return known


def completed(call: ModelCall, info: Mapping[str, Any]) -> ModelCall:
    """Returns `call` with what `info` adds to it. What was billed and known before stays.

    `info` is OpenRouter's (openrouter.ai/docs, Get a generation): `total_cost` in US dollars, plus the price of the
    company behind where its own key was used; `native_tokens_*` as that company counts them.
    """
    name = info.get("provider_name")
    metadata = {**call.metadata, "provider_name": name} if isinstance(name, str) and name else call.metadata
    call = replace(call, metadata=metadata, generation_info=info or call.generation_info)
    cost = money(info.get("total_cost"))
    if call.spending.cost_known or cost is None:
        return call
    if info.get("is_byok"):
        cost += money(info.get("upstream_inference_cost")) or 0.0
    spending = Spending(
        prompt_tokens=_tokens(info, "prompt") or call.spending.prompt_tokens,
        completion_tokens=_tokens(info, "completion") or call.spending.completion_tokens,
        cost_usd=cost,
        cost_known=True,
    )
    return replace(call, spending=spending)


def _tokens(info: Mapping[str, Any], kind: str) -> int:
    for value in (info.get(f"native_tokens_{kind}"), info.get(f"tokens_{kind}")):
        if isinstance(value, int | float) and math.isfinite(value) and 0 < value < 2**31:
            return int(value)
    return 0


class CostLedger:
    """Records the calls of a request, and their costs."""

    def __init__(self, generations: Generations | None, *, wait: float) -> None:
        """`wait` is how long `settle` waits for reports of providers, in seconds."""
        self._generations = generations
        self._wait = wait
        self._calls: dict[str, ModelCall] = {}
        self._asked: dict[str, asyncio.Task[ModelCall]] = {}

    @property
    def spending(self) -> Spending:
        """The cost of all calls, as far as it is known now."""
        return sum((call.spending for call in self._calls.values()), Spending())

    def note(self, call: ModelCall, *, earlier: bool = False) -> None:
        """Records a call that has ended, maybe in an earlier attempt, and starts to ask about its cost."""
        self._calls[call.call_id] = call
        task = self._generations.ask(call, earlier=earlier) if self._generations is not None else None
        if task is not None:
            self._asked[call.call_id] = task

    async def settle(self) -> list[ModelCall]:
        """Waits a limited time for pending reports; returns the calls with new facts."""
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
