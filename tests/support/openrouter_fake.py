r"""A small OpenRouter for what aimock lacks: every way to fail, at any place, in the order that a test writes down.

    async with openrouter_fake() as upstream:
        upstream.answer(error(429, retry_after="7"), story("Title\n\nOnce there was a fox. It slept."))
        ...  # a client with base_url=upstream.base_url
        assert 2 == len(upstream.calls)

Scripted answers are given in order, one a call; behind them comes `default`, or 500 without one. An answer that nobody
asked for fails the test at the end. What a call said and cost stands in `calls` and is told by `/generation`.

Under `chat_url` the same script is served as any other server with OpenAI's API serves it: nothing of OpenRouter's own.
`moderate` there answers `/moderations`, whose texts are in `moderated`.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from aiohttp import web

KEY: Final = "sk-or-v1-test"
PROMPT_TOKENS: Final = 100
COST_OF_A_WORD: Final = 0.00001


@dataclass(frozen=True, slots=True)
class Text:
    """An event with text."""

    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the test's own making; id, model and provider are added where it names none."""

    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes as they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Goes on when the event is set; with `keep_alive` seconds, OpenRouter's comment is sent that often meanwhile."""

    until: asyncio.Event
    keep_alive: float | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Says nothing for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """Breaks the connection."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The event that says why the model ended."""

    reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Usage:
    """The event with tokens and cost; without `cost`, that of the words said so far."""

    cost: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


Step: TypeAlias = Text | Event | Raw | Wait | Pause | Cut | Finish | Usage

DONE: Final = Raw(b"data: [DONE]\n\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a call gets: a status, headers, and either `steps` of a stream or a `body`."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    steps: Sequence[Step] = ()
    body: bytes | None = None
    content_type: str = "application/json"
    hold: asyncio.Event | None = None
    """Wait for it before a byte is sent."""
    cut: bool = False
    """Break the connection before a byte is sent."""
    header_id: bool = True
    """Tell the generation's id in the headers too, as OpenRouter does."""


@dataclass(slots=True)
class Call:
    """A call of `/chat/completions`."""

    generation_id: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    openrouter: bool = True
    """False where it came to `chat_url`."""
    said: str = ""
    finished: bool = False
    """True once the answer went out to its last step."""
    left: bool = False
    """True when the caller went away before that."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    cost: float | None = None

    @property
    def model(self) -> str:
        """The model that was asked for."""
        return str(self.body["model"])

    @property
    def total_cost(self) -> float:
        """What the call is billed: as told in its usage, else by the words that went out."""
        return self.cost if self.cost is not None else round(len(self.said.split()) * COST_OF_A_WORD, 9)


Answerer: TypeAlias = Callable[[Call], Answer]
Moderator: TypeAlias = Callable[[str], Awaitable[web.Response]]


async def moderation(text: str, *, category: str = "") -> web.Response:
    """The answer of `/moderations` about any text: it is flagged where there is a category."""
    del text
    categories = {name: name == category for name in {"violence", "hate", category} - {""}}
    scores = {name: float(flagged) for name, flagged in categories.items()}
    result = {"flagged": bool(category), "categories": categories, "category_scores": scores}
    return web.json_response({"id": "modr-1", "model": "omni-moderation-latest", "results": [result]})


def pieces(text: str, size: int = 20) -> list[Text]:
    """`text` in events of `size` characters."""
    return [Text(text[start : start + size]) for start in range(0, len(text), size)]


def story(text: str, *, size: int = 20, cost: float | None = None) -> Answer:
    """A whole answer, properly ended."""
    return Answer(steps=(*pieces(text, size), Finish(), Usage(cost), DONE))


def stream(*steps: Step, header_id: bool = True) -> Answer:
    """An answer in steps; it ends where they end."""
    return Answer(steps=steps, header_id=header_id)


def error(
    status: int,
    *,
    code: object = None,
    message: str = "Mia's secret story",
    metadata: Mapping[str, Any] | None = None,
    retry_after: str | None = None,
    http_status: int | None = None,
) -> Answer:
    """An error body; `http_status` 200 hides it behind a good status."""
    return Answer(
        status=status if http_status is None else http_status,
        headers={} if retry_after is None else {"Retry-After": retry_after},
        body=json.dumps({"error": error_object(status if code is None else code, message, metadata)}).encode(),
        header_id=False,
    )


def error_object(code: object, message: str, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """OpenRouter's form of an error."""
    return {"code": code, "message": message, **({} if metadata is None else {"metadata": dict(metadata)})}


def broken_off(text: str, code: object, *, metadata: Mapping[str, Any] | None = None, size: int = 20) -> Answer:
    """Some text, then an error object in the stream."""
    told = error_object(code, "Provider disconnected unexpectedly", metadata)
    choices = [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]
    return stream(*pieces(text, size), Event({"error": told, "choices": choices}), DONE)


class OpenRouterFake:
    """The server's script and journal."""

    def __init__(self) -> None:
        self.base_url = ""
        self.chat_url = ""
        self.reset()

    def reset(self) -> None:
        """Forget script and journal."""
        self.moderate: Moderator = moderation
        """Answers `/moderations`: every text is passed by default."""
        self.moderated: list[str] = []
        """The texts that came to `/moderations`."""
        self.calls: list[Call] = []
        """Calls of `/chat/completions`, the oldest first."""
        self.looks: list[str] = []
        """Ids that `/generation` was asked for."""
        self.default: Answerer | None = None
        """Answers what no script does."""
        self.unknown_looks = 0
        """How many looks at `/generation` get 404 from now on."""
        self.models: list[Mapping[str, Any]] = []
        """What `/models` lists."""
        self.gets: deque[web.Response] = deque()
        """Answers of `/generation`, `/models` and `/key` before their own, in order."""
        self.keys: list[str] = []
        """The keys that came, of every call."""
        self.strangers: list[str] = []
        """Paths below `chat_url` that were called and are no part of OpenAI's API."""
        self._scripted: deque[Answer] = deque()

    def verify(self) -> None:
        """Fail where a scripted answer was not asked for."""
        assert 0 == self.unused, f"{self.unused} scripted answers were not asked for"

    def answer(self, *answers: Answer) -> None:
        """Add answers, one for each call."""
        self._scripted.extend(answers)

    @property
    def unused(self) -> int:
        """How many scripted answers nobody asked for."""
        return len(self._scripted)

    @property
    def total_cost(self) -> float:
        """What all calls are billed."""
        return sum(call.total_cost for call in self.calls)

    def routes(self) -> list[web.AbstractRouteDef]:
        """What the server serves."""
        return [
            web.post("/api/v1/chat/completions", self._chat),
            web.get("/api/v1/generation", self._generation),
            web.get("/api/v1/models", self._models),
            web.get("/api/v1/key", self._key),
            web.post("/v1/chat/completions", self._chat),
            web.get("/v1/models", self._models),
            web.post("/v1/moderations", self._moderation),
            web.route("*", "/{path:.*}", self._stranger),
        ]

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        number = len(self.calls) + 1
        call = Call(f"gen-{number}", dict(request.headers), await request.json())
        call.openrouter = request.path.startswith("/api/")
        self.calls.append(call)
        try:
            return await self._answered(request, call)
        except ConnectionError:
            call.left = True
            raise
        except asyncio.CancelledError:
            call.left = True
            raise
        finally:
            call.ended.set()

    async def _answered(self, request: web.Request, call: Call) -> web.StreamResponse:
        if self._scripted:
            answer = self._scripted.popleft()
        else:
            answer = self.default(call) if self.default is not None else error(500)
        if answer.hold is not None:
            await answer.hold.wait()
        if answer.cut:
            return _broken(request, web.Response())
        told = answer.header_id and call.openrouter
        headers = {**answer.headers, **({"X-Generation-Id": call.generation_id} if told else {})}
        if answer.body is not None:
            call.finished = True
            return web.Response(
                status=answer.status, headers=headers, body=answer.body, content_type=answer.content_type
            )
        response = web.StreamResponse(status=answer.status, headers={**headers, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        for step in answer.steps:
            if isinstance(step, Cut):
                return _broken(request, response)
            await _step(response, step, call)
        await response.write_eof()
        call.finished = True
        return response

    async def _generation(self, request: web.Request) -> web.Response:
        self._note(request)
        identifier = request.query.get("id", "")
        self.looks.append(identifier)
        if self.gets:
            return self.gets.popleft()
        call = next((call for call in self.calls if call.generation_id == identifier), None)
        if call is None or self.unknown_looks > 0:
            self.unknown_looks -= 1
            return web.json_response({"error": error_object(404, "Generation not found")}, status=404)
        return web.json_response(
            {
                "data": {
                    "id": identifier,
                    "model": call.model,
                    "provider_name": "Fake",
                    "total_cost": call.total_cost,
                    "tokens_prompt": PROMPT_TOKENS,
                    "tokens_completion": len(call.said.split()),
                    "native_tokens_prompt": PROMPT_TOKENS,
                    "native_tokens_completion": len(call.said.split()),
                    "streamed": True,
                    "cancelled": call.left,
                }
            }
        )

    async def _models(self, request: web.Request) -> web.Response:
        self._note(request)
        return self.gets.popleft() if self.gets else web.json_response({"data": self.models})

    async def _key(self, request: web.Request) -> web.Response:
        self._note(request)
        return self.gets.popleft() if self.gets else web.json_response({"data": {"label": "sk-or-v1-tes...est"}})

    async def _moderation(self, request: web.Request) -> web.Response:
        self._note(request)
        self.moderated.append((await request.json())["input"])
        return await self.moderate(self.moderated[-1])

    async def _stranger(self, request: web.Request) -> web.Response:
        self._note(request)
        self.strangers.append(request.path)
        return web.json_response({"error": {"message": "Not Found"}}, status=404)

    def _note(self, request: web.Request) -> None:
        self.keys.append(request.headers.get("Authorization", "").removeprefix("Bearer "))


async def _step(response: web.StreamResponse, step: Step, call: Call) -> None:
    match step:
        case Raw(data):
            await response.write(data)
        case Pause(seconds):
            await asyncio.sleep(seconds)
        case Wait(until, None):
            await until.wait()
        case Wait(until, float() as every):
            await _kept_alive(response, until, every)
        case Text(text):
            call.said += text
            await response.write(_event(call, {"choices": [_choice({"role": "assistant", "content": text})]}))
        case Finish(reason):
            await response.write(_event(call, {"choices": [_choice({}, reason)]}))
        case Usage(cost, more):
            call.cost = call.total_cost if cost is None else cost
            words = len(call.said.split())
            priced = {"cost": call.cost} if call.openrouter else {}
            usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": words, **priced, **more}
            await response.write(_event(call, {"choices": [], "usage": usage}))
        case Event(fields):
            await response.write(_event(call, fields))


async def _kept_alive(response: web.StreamResponse, until: asyncio.Event, every: float) -> None:
    while not until.is_set():
        await response.write(b": OPENROUTER PROCESSING\n\n")
        try:
            await asyncio.wait_for(until.wait(), every)
        except TimeoutError:
            continue


def _choice(delta: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": reason, "native_finish_reason": reason}


def _event(call: Call, fields: Mapping[str, Any]) -> bytes:
    event = {
        "id": call.generation_id,
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": call.model,
        **({"provider": "Fake"} if call.openrouter else {}),
        **fields,
    }
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _broken(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return response


@asynccontextmanager
async def openrouter_fake(*, ended: Callable[[], Awaitable[None]] | None = None) -> AsyncIterator[OpenRouterFake]:
    """Serve one on a free loopback port. `ended` is awaited before the server goes: close clients there."""
    fake = OpenRouterFake()
    application = web.Application()
    application.add_routes(fake.routes())
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        fake.base_url = f"http://{host}:{port}/api/v1"
        fake.chat_url = f"http://{host}:{port}/v1"
        yield fake
        fake.verify()
    finally:
        if ended is not None:
            await ended()
        await runner.cleanup()
