"""What every provider of chat models holds to."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, Protocol

import pytest
from pydantic import SecretStr
from support import openrouter_fake as fake
from support.aimock import AIMock, aimock

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.secrets import SecretSource
from story_service.chat import (
    ChatDelta,
    ChatEnded,
    ChatEvent,
    ChatModel,
    ChatRequest,
    ChatStarted,
    ChatTimers,
    EndMark,
    Message,
)
from story_service.providers.chat.dialect import chat_server
from story_service.providers.chat.model import ServerChatModel
from story_service.providers.openrouter.dialect import openrouter

MODEL: Final = "openai/gpt-4o-mini"
TIMERS: Final = ChatTimers(total=30, first_token=20, idle=20)
TEXT: Final = "Лиса и звёзды\n\n" + "The little fox 🦊 counted every star. " * 8
FOXES: Final = "x" + "🦊" * 45


class Stage(Protocol):
    """A stand-in of the provider, and the model that is asked through it."""

    model: ChatModel

    async def tells(self, text: str, *, finish_reason: str = "stop", cost: float | None = 0.0012) -> None:
        """Let the next call be answered."""

    async def breaks(self, text: str) -> None:
        """Let the next call be cut after some of `text`."""

    async def refuses(self, status: int) -> None:
        """Let the next call fail."""

    async def calls(self) -> Sequence[Mapping[str, Any]]:
        """The bodies that came in."""


class FakeStage:
    """On the fake."""

    def __init__(self, upstream: fake.OpenRouterFake, model: ChatModel) -> None:
        self.upstream, self.model = upstream, model

    async def tells(self, text: str, *, finish_reason: str = "stop", cost: float | None = 0.0012) -> None:
        steps: list[fake.Step] = [*fake.pieces(text, 20), fake.Finish(finish_reason)]
        if cost is not None:
            steps.append(fake.Usage(cost))
        self.upstream.answer(fake.stream(*steps, fake.DONE))

    async def breaks(self, text: str) -> None:
        self.upstream.answer(fake.stream(*fake.pieces(text, 20)[:3], fake.Cut()))

    async def refuses(self, status: int) -> None:
        self.upstream.answer(fake.error(status))

    async def calls(self) -> Sequence[Mapping[str, Any]]:
        return [call.body for call in self.upstream.calls]


class AIMockStage:
    """On aimock."""

    def __init__(self, upstream: AIMock, model: ChatModel) -> None:
        self.upstream, self.model = upstream, model

    async def tells(self, text: str, *, finish_reason: str = "stop", cost: float | None = 0.0012) -> None:
        usage = {"prompt_tokens": 100, "completion_tokens": 50}
        usage_and_cost = usage if cost is None else {**usage, "cost": cost}
        response = {"content": text, "finishReason": finish_reason, "usage": usage_and_cost, "provider": "Fake"}
        await self.upstream.add({"match": {"model": MODEL}, "response": response, "openRouterProcessing": True})

    async def breaks(self, text: str) -> None:
        await self.upstream.add({"match": {"model": MODEL}, "response": {"content": text}, "truncateAfterChunks": 4})

    async def refuses(self, status: int) -> None:
        await self.upstream.fail_next(status)

    async def calls(self) -> Sequence[Mapping[str, Any]]:
        return [call.body or {} for call in await self.upstream.calls("/chat/completions")]


@pytest.fixture(scope="module")
async def mock() -> AsyncIterator[AIMock]:
    """One aimock for the suite."""
    async with aimock() as running:
        yield running


@pytest.fixture(params=["openrouter", "chat"])
def provider(request: pytest.FixtureRequest) -> str:
    """Each provider."""
    return str(request.param)


@pytest.fixture(params=["fake", "aimock"])
async def stage(request: pytest.FixtureRequest, mock: AIMock, provider: str) -> AsyncIterator[Stage]:
    """Each stand-in, with nothing in it."""
    if request.param == "fake":
        async with fake.openrouter_fake() as upstream, _asked(upstream.base_url, provider) as model:
            yield FakeStage(upstream, model)
    else:
        await mock.reset()
        async with _asked(mock.openrouter_url, provider) as model:
            yield AIMockStage(mock, model)


@asynccontextmanager
async def _asked(base_url: str, provider: str) -> AsyncIterator[ChatModel]:
    if provider == "openrouter":
        model = ServerChatModel(openrouter(base_url), SecretSource(SecretStr(fake.KEY), name="OPENROUTER_API_KEY"))
    else:
        model = ServerChatModel(chat_server(base_url), SecretSource(None, name="CHAT_API_KEY"))
    try:
        yield model
    finally:
        await model.aclose()


def _request(**more: Any) -> ChatRequest:
    return ChatRequest(model=MODEL, messages=(Message("system", "Be kind."), Message("user", "Tell.")), **more)


async def _read(model: ChatModel, **more: Any) -> list[ChatEvent]:
    async with aclosing(model.stream(_request(**more), TIMERS)) as events:
        return [event async for event in events]


async def _failed(model: ChatModel) -> tuple[ProviderError, str]:
    """How a call failed, and the text that it gave before."""
    said = ""
    try:
        async with aclosing(model.stream(_request(), TIMERS)) as events:
            async for event in events:
                assert not isinstance(event, ChatEnded)
                said += event.text if isinstance(event, ChatDelta) else ""
    except ProviderError as error:
        return error, said
    raise AssertionError("the call should fail")


def _said(events: Sequence[ChatEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ChatDelta))


@pytest.mark.parametrize("text", [TEXT, FOXES], ids=["text", "characters of two halves"])
async def test_answer_comes_whole_and_in_order(stage: Stage, text: str) -> None:
    """ChatStarted, every character of the text in deltas, ChatEnded."""
    await stage.tells(text)

    events = await _read(stage.model)

    assert text == _said(events)
    assert isinstance(events[0], ChatStarted)
    assert events[0].generation_id
    assert all(isinstance(event, ChatDelta) and event.text for event in events[1:-1])
    assert isinstance(events[-1], ChatEnded)


async def test_end_says_who_wrote_and_what_it_cost(stage: Stage) -> None:
    """Model, provider, tokens and cost, under the id of the beginning."""
    await stage.tells(TEXT)

    started, *_, ended = await _read(stage.model)

    assert isinstance(started, ChatStarted)
    assert isinstance(ended, ChatEnded)
    assert started.generation_id == ended.generation_id
    assert (MODEL, "Fake", "stop") == (ended.model, ended.provider_name, ended.finish_reason)
    assert (True, 0.0012, 100) == (
        ended.spending.cost_known,
        ended.spending.cost_usd,
        ended.spending.prompt_tokens,
    )
    assert ended.spending.completion_tokens > 0
    assert 0.0012 == ended.usage["cost"]
    assert ended.created > 1_700_000_000


async def test_cost_that_is_not_told_is_not_known(stage: Stage) -> None:
    """It is not taken for nothing."""
    await stage.tells(TEXT, cost=None)

    *_, ended = await _read(stage.model)

    assert isinstance(ended, ChatEnded)
    assert not ended.spending.cost_known


async def test_what_is_asked_arrives(stage: Stage) -> None:
    """Messages and settings; nothing where nothing was set. Only OpenRouter gets fields of its own."""
    await stage.tells(TEXT)
    await _read(stage.model, temperature=0.7, max_tokens=900, seed=0)
    await stage.tells(TEXT)
    await _read(stage.model)

    first, second = await stage.calls()

    assert [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Tell."}] == first["messages"]
    assert (MODEL, True, 0.7, 900, 0) == (*(first[name] for name in ("model", "stream")), *_settings(first))
    assert (None, None, None) == _settings(second)
    if stage.model.provider == "openrouter":
        assert "deny" == first["provider"]["data_collection"]
    else:
        assert not {"provider", "usage"} & {*first, *second}


def _settings(body: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(body.get(name) for name in ("temperature", "max_tokens", "seed"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderErrorKind.INVALID_INPUT),
        (401, ProviderErrorKind.AUTH),
        (402, ProviderErrorKind.QUOTA),
        (404, ProviderErrorKind.UNSUPPORTED),
        (429, ProviderErrorKind.RATE),
        (500, ProviderErrorKind.OVERLOAD),
        (503, ProviderErrorKind.OVERLOAD),
    ],
)
async def test_refused_call_is_typed_and_made_once(stage: Stage, status: int, kind: ProviderErrorKind) -> None:
    """The kind of the status, under the provider's name; nothing is tried again."""
    await stage.refuses(status)

    error, said = await _failed(stage.model)

    assert (kind, status, stage.model.provider, "") == (error.kind, error.status, error.provider, said)
    assert 1 == len(await stage.calls())


@pytest.mark.parametrize(
    ("finish_reason", "mark"),
    [("length", EndMark.OUT_OF_TOKENS), ("content_filter", EndMark.FILTERED), ("stop", EndMark.PROPER)],
)
async def test_end_is_marked_by_its_reason(stage: Stage, finish_reason: str, mark: EndMark) -> None:
    """The text was given whole; what it is worth is for its reader to judge."""
    await stage.tells(TEXT, finish_reason=finish_reason)

    *events, ended = await _read(stage.model)

    assert isinstance(ended, ChatEnded)
    assert (mark, TEXT) == (ended.mark, _said(events))


async def test_cut_answer_is_an_error(stage: Stage) -> None:
    """What came before the cut is a beginning of the text."""
    await stage.breaks(TEXT)

    error, said = await _failed(stage.model)

    assert ProviderErrorKind.TRANSPORT == error.kind
    assert TEXT.startswith(said)
    assert len(said) < len(TEXT)


async def test_answer_that_is_left_early_harms_nothing(stage: Stage) -> None:
    """The next call works."""
    await stage.tells(TEXT)
    async with aclosing(stage.model.stream(_request(), TIMERS)) as events:
        await anext(events)
        await anext(events)
    await stage.tells(TEXT)

    assert TEXT == _said(await _read(stage.model))


async def test_many_answers_come_at_once(stage: Stage) -> None:
    """Each caller gets its own text."""
    for _ in range(40):
        await stage.tells(TEXT)

    answers = await asyncio.gather(*(_read(stage.model) for _ in range(40)))

    assert [TEXT] * 40 == [_said(events) for events in answers]
    assert 40 == len({event.generation_id for events in answers for event in events if isinstance(event, ChatStarted)})


async def test_models_are_listed(stage: Stage) -> None:
    """Ids and names of what can be asked for."""
    if isinstance(stage, FakeStage):
        stage.upstream.models = [{"id": MODEL, "name": "GPT-4o mini", "pricing": {}}]
    else:
        await stage.tells(TEXT)

    assert [MODEL] == [model.id for model in await stage.model.models(timeout=20)]


async def test_good_key_passes(stage: Stage) -> None:
    """Nothing is asked of a model for it."""
    await stage.model.check_key(timeout=20)

    assert 0 == len(await stage.calls())


async def test_no_key_makes_no_call(stage: Stage) -> None:
    """AUTH where a key is needed, and nothing is sent."""
    model = ServerChatModel(openrouter(), SecretSource(SecretStr(" "), name="OPENROUTER_API_KEY"))

    error, _ = await _failed(model)

    assert (ProviderErrorKind.AUTH, 0) == (error.kind, error.status)
    assert 0 == len(await stage.calls())
