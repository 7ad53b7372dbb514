"""A server with OpenAI's API and nothing else: what is sent to it, and what it may send."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Final

import pytest
from pydantic import SecretStr
from support.openrouter_fake import OpenRouterFake, error, openrouter_fake, story

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.secrets import SecretSource
from story_service.chat import ChatDelta, ChatRequest, ChatTimers, Message
from story_service.providers.chat.dialect import chat_server
from story_service.providers.chat.model import ServerChatModel

TIMERS: Final = ChatTimers(total=30, first_token=20, idle=20)
TEXT: Final = "Once there was a fox. It slept."


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[OpenRouterFake]:
    """A server."""
    async with openrouter_fake() as running:
        yield running


@pytest.fixture
def upstream(server: OpenRouterFake) -> Iterator[OpenRouterFake]:
    """The server, with nothing scripted; what is scripted has to be asked for."""
    server.reset()
    yield server
    server.verify()


@pytest.fixture
async def model(upstream: OpenRouterFake) -> AsyncIterator[ServerChatModel]:
    """The adapter without a key."""
    made = _model(upstream)
    yield made
    await made.aclose()


def _model(upstream: OpenRouterFake, key: str = "") -> ServerChatModel:
    source = SecretSource(SecretStr(key) if key else None, name="CHAT_API_KEY")
    return ServerChatModel(chat_server(upstream.base_url), source)


async def _told(model: ServerChatModel) -> str:
    request = ChatRequest(model="llama3.2:3b", messages=(Message("system", "Be kind."), Message("user", "Tell.")))
    async with aclosing(model.stream(request, TIMERS)) as events:
        return "".join([event.text async for event in events if isinstance(event, ChatDelta)])


@pytest.mark.parametrize("key", ["", "local"])
async def test_server_is_sent_openais_fields_alone(
    upstream: OpenRouterFake, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a key only where one is set; never one of another server from the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    model = _model(upstream, key)
    upstream.answer(story(TEXT))

    assert TEXT == await _told(model)
    await model.check_key(timeout=20)
    await model.models(timeout=20)
    await model.aclose()

    (call,) = upstream.calls
    assert {"model", "messages", "stream", "stream_options"} == set(call.body)
    assert [key] * 3 == upstream.keys
    assert bool(key) == ("Authorization" in call.headers)


async def test_generations_are_not_asked_for(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """The server has no such path."""
    assert not model.reports_generations
    with pytest.raises(ProviderError) as caught:
        await model.generation_info("gen-1", timeout=20)

    assert ProviderErrorKind.UNSUPPORTED == caught.value.kind
    assert [] == upstream.looks


async def test_refused_key_names_its_own_variable(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """The variable is the one of this server."""
    upstream.answer(error(401))

    with pytest.raises(ProviderError, match="CHAT_API_KEY") as caught:
        await _told(model)

    assert ("chat", ProviderErrorKind.AUTH) == (caught.value.provider, caught.value.kind)
