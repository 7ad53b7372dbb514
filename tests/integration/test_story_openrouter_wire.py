"""Upstreams that speak no HTTP, or not to its end: OpenRouter's adapter types what every layer below it raises."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

import pytest
from pydantic import SecretStr

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.secrets import SecretSource
from story_service.chat import ChatRequest, ChatTimers, Message
from story_service.providers.chat.model import ServerChatModel
from story_service.providers.openrouter.dialect import openrouter

EVENTS: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
BYTES: Final = {
    "nothing": b"",
    "no HTTP": b"220 mail.example ESMTP\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nConte",
    "an endless header": EVENTS + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n",
    "no such status": b"HTTP/1.1 999999 Wow\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "no chunk": EVENTS + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nxx\r\n",
    "less than was said": EVENTS + b"Content-Length: 500\r\n\r\ndata: {}\n\n",
    "no gzip": EVENTS + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
}


@asynccontextmanager
async def _upstream(answer: bytes) -> AsyncIterator[ServerChatModel]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        model = ServerChatModel(
            openrouter(f"http://127.0.0.1:{port}/v1"),
            SecretSource(SecretStr("key"), name="OPENROUTER_API_KEY"),
        )
        try:
            yield model
        finally:
            await model.aclose()


async def _drain(model: ServerChatModel) -> None:
    request = ChatRequest(model="a/b", messages=(Message("user", "Tell."),))
    async with aclosing(model.stream(request, ChatTimers(total=30))) as events:
        async for _ in events:
            pass


@pytest.mark.parametrize("name", BYTES)
async def test_what_is_no_answer_is_a_typed_error(name: str) -> None:
    """TRANSPORT, for a story and for what is only asked about; a server of another kind is a wrong address."""
    async with _upstream(BYTES[name]) as model:
        with pytest.raises(ProviderError) as of_story:
            await _drain(model)
        with pytest.raises(ProviderError) as of_models:
            await model.models(timeout=20)

    kind = ProviderErrorKind.CONFIGURATION if name == "another protocol" else ProviderErrorKind.TRANSPORT
    assert [kind] * 2 == [of_story.value.kind, of_models.value.kind]
