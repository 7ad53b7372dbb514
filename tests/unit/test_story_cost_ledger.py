"""The books: what calls cost, as it becomes known."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.story_writers import CALL

from servicekit.context import Caller, RequestContext, bound
from servicekit.metrics import Metrics
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import AuditLog
from story_service.chat import ChatEvent, ChatRequest, ChatTimers, UpstreamModel
from story_service.generation.cost_ledger import CostLedger, Generations, completed
from story_service.metrics import StoryMetrics
from story_service.ports import ModelCall, Spending

_INFO = {
    "id": "gen-1",
    "total_cost": 0.5,
    "native_tokens_prompt": 7,
    "native_tokens_completion": 11,
    "provider_name": "Fake",
}
_CUT = replace(
    CALL, call_id="cut", model="a/b", generation_id="gen-1", spending=Spending(cost_usd=0.1, cost_known=False)
)


class _Chat:
    """Tells of generations when it is let, or fails."""

    def __init__(self, info: Mapping[str, Any] | Exception) -> None:
        self._info = info
        self.provider = CALL.provider
        self.reports_generations = True
        self.open = asyncio.Event()
        self.asked: list[str] = []

    def stream(self, request: ChatRequest, timers: ChatTimers) -> AsyncGenerator[ChatEvent, None]:
        raise NotImplementedError

    async def generation_info(self, generation_id: str, *, timeout: float) -> Mapping[str, Any]:
        del timeout
        self.asked.append(generation_id)
        await self.open.wait()
        if isinstance(self._info, Exception):
            raise self._info
        return self._info

    async def models(self, *, timeout: float) -> Sequence[UpstreamModel]:
        raise NotImplementedError

    async def check_key(self, *, timeout: float) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


def _generations(chat: _Chat, metrics: Metrics | None = None, *, most: int = 512) -> Generations:
    metrics = metrics or Metrics()
    return Generations(
        chat,
        breakers=BreakerManager(),
        audit=AuditLog(),
        metrics=StoryMetrics(metrics, models=["a/b"]),
        most=most,
    )


def _counted(metrics: Metrics, name: str, model: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"model": model})


async def test_what_a_provider_tells_completes_the_books() -> None:
    """The estimate gives way to what was billed, and the call is told once more."""
    chat = _Chat(_INFO)
    books = CostLedger(_generations(chat), wait=10)
    books.note(CALL)
    books.note(_CUT)
    assert Spending(prompt_tokens=3, completion_tokens=5, cost_usd=0.35, cost_known=False) == books.spending

    chat.open.set()
    books.note(replace(_CUT, call_id="other", spending=CALL.spending))
    first, second = await books.settle()

    assert Spending(prompt_tokens=7, completion_tokens=11, cost_usd=0.5, cost_known=True) == first.spending
    assert {"provider_name": "Fake"} == first.metadata == second.metadata
    assert CALL.spending == second.spending
    assert Spending(prompt_tokens=13, completion_tokens=21, cost_usd=1.0, cost_known=True) == books.spending
    assert ["gen-1", "gen-1"] == chat.asked


async def test_nobody_waits_longer_than_agreed() -> None:
    """What is not told in time may be told at the next settling, or never."""
    chat = _Chat(_INFO)
    generations = _generations(chat)
    books = CostLedger(generations, wait=0)
    books.note(_CUT)
    assert [] == await books.settle()
    assert not books.spending.cost_known

    chat.open.set()
    await asyncio.gather(*generations._tasks)
    (told,) = await books.settle()
    assert 0.5 == told.spending.cost_usd
    assert [] == await books.settle()


@pytest.mark.parametrize(
    "failure", [ProviderError(ProviderErrorKind.TIMEOUT, "late", provider="fake"), ValueError("a defect")]
)
async def test_provider_that_tells_nothing_leaves_the_cost_unknown(failure: Exception) -> None:
    """The estimate stays, and says that it is one; a defect of ours ends no story."""
    chat, metrics = _Chat(failure), Metrics()
    chat.open.set()
    books = CostLedger(_generations(chat, metrics), wait=10)
    books.note(_CUT)

    assert [] == await books.settle()
    assert _CUT.spending == books.spending
    books.note(_CUT, earlier=True)
    await books.settle()
    assert 1 == _counted(metrics, "story_cost_unknown_calls_total", "a/b")


async def test_each_call_is_counted_once_by_what_it_cost() -> None:
    """Money and tokens by model; a model that nobody listed is "other"; what has no id is counted at once."""
    chat, metrics = _Chat(_INFO), Metrics()
    chat.open.set()
    books = CostLedger(_generations(chat, metrics), wait=10)
    books.note(_CUT)
    books.note(replace(_CUT, call_id="other", model="c/d", generation_id="", spending=CALL.spending))
    await books.settle()

    assert (0.5, 0.25) == tuple(_counted(metrics, "story_cost_usd_total", model) for model in ("a/b", "other"))
    tokens = metrics.registry.get_sample_value("openai_tokens_used_total", {"model": "a/b", "type": "completion"})
    assert 11 == tokens


async def test_no_more_is_asked_at_once_than_agreed() -> None:
    """One generation too many is not asked about, and its cost stays unknown."""
    chat = _Chat(_INFO)
    generations = _generations(chat, most=1)
    first, second = generations.ask(_CUT), generations.ask(_CUT)
    await generations.aclose()

    assert first is not None
    assert first.cancelled()
    assert second is None


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, _CUT.spending),
        ({"total_cost": "0.5"}, _CUT.spending),
        ({"total_cost": -1}, _CUT.spending),
        ({"total_cost": float("nan")}, _CUT.spending),
        ({"total_cost": True}, _CUT.spending),
        ({"total_cost": 0}, Spending()),
        ({"total_cost": 0.5, "tokens_prompt": 2}, Spending(prompt_tokens=2, cost_usd=0.5)),
        ({"total_cost": 0.5, "native_tokens_prompt": -2}, Spending(cost_usd=0.5)),
        ({"total_cost": 0.1, "is_byok": True, "upstream_inference_cost": 0.4}, Spending(cost_usd=0.5)),
        ({"total_cost": 0.5, "is_byok": False, "upstream_inference_cost": 0.4}, Spending(cost_usd=0.5)),
    ],
)  # fmt: skip
def test_only_sound_numbers_get_into_the_books(info: Mapping[str, Any], expected: Spending) -> None:
    """What is no amount of money is no amount of money."""
    assert expected == completed(_CUT, info).spending


async def test_settled_call_carries_what_its_provider_reports() -> None:
    """Under its own id; a call that nothing is reported about does not come again."""
    chat = _Chat(_INFO)
    chat.open.set()
    books = CostLedger(_generations(chat), wait=10)
    books.note(_CUT)
    books.note(CALL)
    (call,) = await books.settle()

    assert "cut" == call.call_id
    assert _INFO == call.generation_info


def test_without_a_provider_the_books_are_kept_all_the_same() -> None:
    """The embedded writer costs nothing, and nobody is asked."""
    books = CostLedger(None, wait=0)
    free: ModelCall = replace(CALL, spending=Spending())
    books.note(free)

    assert Spending() == books.spending


async def test_a_call_that_ended_with_its_callers_deadline_has_its_cost_looked_up() -> None:
    """The question outlives the caller, and so it has no deadline of the caller's."""
    chat = _Chat(_INFO)
    chat.open.set()
    with bound(RequestContext("id", Caller(), asyncio.get_running_loop().time() - 1)):
        task = _generations(chat).ask(_CUT)
    assert task is not None

    assert (await task).spending.cost_known
