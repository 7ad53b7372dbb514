"""Measures what reading one story from a model costs this process: `python -m benchmarks.streaming`.

The model is a server in a process of its own, so that only the adapter, the SDK and the HTTP client are counted. Each
event comes in a chunk and, where the gap between events lets, in a packet of its own: nothing is gained by reading
several at once.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from servicekit.secrets import SecretSource
from story_service.chat import ChatDelta, ChatEnded, ChatModel, ChatRequest, ChatTimers, Message
from story_service.providers.chat.model import ServerChatModel
from story_service.providers.openrouter.dialect import openrouter

EVENTS: Final = (75, 750)
GAP_SECONDS: Final = 0.0005
AT_ONCE: Final = 8
_WORD: Final = "slept "
_TIMERS: Final = ChatTimers(total=60)


@dataclass(frozen=True, slots=True)
class StreamingCost:
    """Cost of `stories` stories of `events` events each, `at_once` at a time."""

    events: int
    stories: int
    at_once: int
    cpu_ms: float
    """CPU milliseconds a story, of this process alone."""
    rate: float
    """Stories a second; a core that does nothing else could do 1000 / cpu_ms."""


async def measure(events: int, *, stories: int = 64, at_once: int = AT_ONCE) -> StreamingCost:
    """Reads stories and counts this process's CPU time, after a few that warm it up."""
    async with _server() as base_url:
        model = ServerChatModel(openrouter(base_url), SecretSource(SecretStr("sk-bench"), name="OPENROUTER_API_KEY"))
        try:
            await _read_all(model, events, at_once, at_once)
            began, cpu = time.perf_counter(), time.process_time()
            await _read_all(model, events, stories, at_once)
            cpu, seconds = time.process_time() - cpu, time.perf_counter() - began
        finally:
            await model.aclose()
    return StreamingCost(events, stories, at_once, 1000 * cpu / stories, stories / seconds)


async def _read_all(model: ChatModel, events: int, stories: int, at_once: int) -> None:
    slots = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with slots:
            await _read(model, events)

    async with asyncio.TaskGroup() as group:
        for _ in range(stories):
            group.create_task(one())


async def _read(model: ChatModel, events: int) -> None:
    request = ChatRequest(model=f"bench/{events}", messages=(Message("user", "Tell it."),), temperature=0.7)
    length, ended = 0, False
    async with aclosing(model.stream(request, _TIMERS)) as answer:
        async for event in answer:
            if isinstance(event, ChatDelta):
                length += len(event.text)
            ended = isinstance(event, ChatEnded)
    assert ended
    assert length == events * len(_WORD)


@asynccontextmanager
async def _server() -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.streaming", "serve", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 30))
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        process.terminate()
        await process.wait()


async def _serve() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            await _tell(writer, int(body["model"].removeprefix("bench/")))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _tell(writer: asyncio.StreamWriter, events: int) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    text = _chunk(_event({"role": "assistant", "content": _WORD}))
    for _ in range(events):
        writer.write(text)
        await writer.drain()
        await asyncio.sleep(GAP_SECONDS)
    writer.write(_chunk(_event({}, finish_reason="stop")))
    writer.write(_chunk(_event(None, usage={"prompt_tokens": 300, "completion_tokens": events, "cost": 0.0004})))
    writer.write(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    await writer.drain()


def _event(delta: object, finish_reason: str | None = None, usage: object = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "native_finish_reason": finish_reason}
    event = {
        "id": "gen-1790000000-abcdefghijklmnopqrst",
        "provider": "Azure",
        "model": "openai/gpt-4o-mini",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "choices": [] if delta is None else [{**choice, "logprobs": None}],
        "system_fingerprint": "fp_efad92c60b",
        **({} if usage is None else {"usage": usage}),
    }
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def main() -> None:
    """Measures and prints."""
    print("| events a story | CPU ms a story | stories/s a core | stories/s here |\n|---|---|---|---|")
    for events in EVENTS:
        cost = await measure(events)
        print(f"| {events} | {cost.cpu_ms:.1f} | {1000 / cost.cpu_ms:.0f} | {cost.rate:.0f} |", flush=True)


if __name__ == "__main__":
    asyncio.run(_serve() if sys.argv[1:] == ["serve"] else main())
