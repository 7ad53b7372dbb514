"""The story service in the test's own process, over a small OpenRouter, as its caller sees it."""

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration

from servicekit.errors import DomainError
from servicekit.ids import new_id
from servicekit.resilience.retry import RetryBudget
from servicekit.status import from_rpc_error
from standins.virtual_time import loop_time
from story_service.bootstrap import build
from story_service.settings import StorySettings
from support.openrouter_fake import KEY, Answer, Call, OpenRouterFake, openrouter_fake, story
from support.servers import Running, running
from tale.common.v1 import common_pb2
from tale.story.v1 import story_pb2, story_pb2_grpc

TITLE: Final = "The Lantern of the Small Owl"

SENTENCES: Final = (
    "Once upon a time a small owl lived in an oak.",
    "Every evening she lit a lantern for those coming home.",
    "\n\nOne night the wind was wild and blew it out.",
    '"Oh dear!" cried the owl, and flew through the dark.',
    "At the edge of the pond she met a frog.",
    '"I can not see you," he said, "but sound sad."',
    "\n\nShe told him about the lantern, and he listened well.",
    "Then he called the fireflies, one by one, by name.",
    "They came out of the reeds like golden sparks.",
    "\n\nNow the lantern shone softer than ever before.",
    "A lost hedgehog saw it and found his own nest.",
    "A tired mouse saw it too and was not afraid.",
    "\n\nThe owl thanked the frog and each of the fireflies.",
    "The wind grew quiet and lay in the grass.",
    "Leaf by leaf the great tree stopped its rustling.",
    "\n\nThe small bird tucked her head beneath her wing.",
    "And in the light of friends she slept till morning.",
)


def joined(count: int) -> str:
    """The text's first sentences, as many as `count`."""
    return "".join(s if s.startswith("\n") or not n else " " + s for n, s in enumerate(SENTENCES[:count]))


TEXT: Final = joined(len(SENTENCES))
WHOLE: Final = f"{TITLE}\n\n{TEXT}"
"""What a model answers that does all as it was asked."""


def rest(written: str) -> str:
    """What a model answers that goes on behind `written`."""
    assert TEXT.startswith(written)
    return TEXT[len(written) :].lstrip(" ")


@dataclass(slots=True)
class Telling:
    """What a caller was told: the events in order, and what was gathered from them."""

    events: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    title: str = ""
    text: str = ""
    outlines: list[common_pb2.StoryOutline] = field(default_factory=list)
    attempts: dict[str, common_pb2.Attempt] = field(default_factory=dict)
    warnings: list[common_pb2.Problem] = field(default_factory=list)
    complete: story_pb2.GenerationComplete | None = None
    error: DomainError | None = None
    times: dict[str, float] = field(default_factory=dict)
    """When the first event of each kind came, on the loop's clock."""

    def take(self, response: story_pb2.GenerateStoryResponse) -> None:
        """Note a piece of the answer; what was told never changes."""
        self.events.append(response.WhichOneof("event") or "")
        self.times.setdefault(self.events[-1], loop_time())
        match self.events[-1]:
            case "started":
                self.started.append(response.started.model)
            case "title":
                assert "" == self.title
                self.title = response.title.title
            case "delta":
                assert response.delta.offset == len(self.text)
                self.text += response.delta.text
            case "outline":
                self.outlines.append(response.outline)
            case "attempt":
                self.attempts[response.attempt.attempt_id] = response.attempt
            case "warning":
                self.warnings.append(response.warning)
            case "complete":
                self.complete = response.complete

    @property
    def whole(self) -> story_pb2.GenerationComplete:
        """The end of a story that succeeded."""
        assert self.error is None, self.error
        assert self.complete is not None
        return self.complete

    @property
    def failure(self) -> DomainError:
        """What the call ended with that failed."""
        assert self.error is not None
        assert self.complete is None
        return self.error

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        """Model and reason of each attempt; no reason where it succeeded."""
        return [(attempt.model, attempt.reason) for attempt in self.attempts.values()]

    @property
    def completions(self) -> list[dict[str, Any]]:
        """The completions of the attempts."""
        lines = [line for line in self.attempts.values() if line.HasField("response")]
        return [json_format.MessageToDict(line.response) for line in lines]

    @property
    def generation_infos(self) -> list[dict[str, Any]]:
        """What the providers reported about the calls."""
        lines = [line for line in self.attempts.values() if line.HasField("generation_info")]
        return [json_format.MessageToDict(line.generation_info) for line in lines]

    @property
    def cost(self) -> float:
        """What all attempts cost."""
        return sum(attempt.cost_usd for attempt in self.attempts.values())


@dataclass(frozen=True, slots=True)
class StoryServer:
    """A running story service and its upstream."""

    upstream: OpenRouterFake
    service: Running
    stub: "story_pb2_grpc.StoryServiceAsyncStub"

    def begin(self, written: str = "", *, timeout: float = 30, **how: Any) -> Any:
        """Ask for a story, or for one to be gone on with behind `written`: the call."""
        return self.stub.GenerateStory(_request(written, **how), timeout=timeout)

    async def tell(self, written: str = "", **how: Any) -> Telling:
        """Have a story written, or gone on with behind `written`, to its end; see `begin`."""
        telling = Telling(text=written)
        try:
            async for response in self.begin(written, **how):
                telling.take(response)
        except grpc.aio.AioRpcError as error:
            telling.error = from_rpc_error(error)
        return telling


def _request(
    written: str,
    *,
    title: str = "",
    spent_usd: float = 0,
    provider_wait: int = 0,
    outline: common_pb2.StoryOutline | None = None,
    calls_made: int = 0,
    story_id: str = "",
    **spec: Any,
) -> story_pb2.GenerateStoryRequest:
    return story_pb2.GenerateStoryRequest(
        story_id=story_id or new_id(),
        child=common_pb2.Child(name="Mia", age=6),
        spec=common_pb2.StorySpec(**{"child_id": new_id(), "length_minutes": 1, **spec}),
        title_so_far=title or (TITLE if written else ""),
        written_so_far=written,
        spent_usd=spent_usd,
        outline=outline,
        calls_made=calls_made,
        provider_wait=Duration(seconds=provider_wait),
    )


def _settings(
    folder: Path, upstream: OpenRouterFake, changes: Mapping[str, Any], *, chat: bool = False
) -> StorySettings:
    openrouter = {"openrouter_base_url": upstream.base_url, "openrouter_api_key": KEY}
    given = {
        "listen": "127.0.0.1:0",
        "ops_listen": "127.0.0.1:0",
        "data_dir": folder,
        **({"chat_base_url": upstream.chat_url} if chat else openrouter),
        "model": "a/first",
        "drain_seconds": 1,
        **changes,
    }
    return StorySettings(**{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, slots=True)
class _Caller:
    """A call without a transport."""

    telling: Telling

    def time_remaining(self) -> None:
        """Returns that there is no deadline."""

    async def write(self, response: story_pb2.GenerateStoryResponse) -> None:
        """Takes a response."""
        self.telling.take(response)


class VirtualService:
    """The story service as it is built by default, without a transport, in virtual time; and its upstream."""

    def __init__(self, upstream: OpenRouterFake, settings: StorySettings) -> None:
        self.upstream = upstream
        self.app = build(settings, clock=loop_time)

    async def tell(self, written: str = "", *, into: Telling | None = None, **how: Any) -> Telling:
        """Has a story written, or continued behind `written`, to its end; `into` can be read meanwhile."""
        telling = into or Telling()
        telling.text = written
        try:
            caller: Any = _Caller(telling)
            await self.app.servicer.GenerateStory(_request(written, **how), caller)
        except DomainError as error:
            telling.error = error
        return telling


@asynccontextmanager
async def virtual_service(folder: Path, *, chat: bool = False, **changes: Any) -> AsyncIterator[VirtualService]:
    """A story service over a small OpenRouter, for `run_virtually`; `changes` are settings, which are the defaults.

    With `chat` the server is any other one with OpenAI's API.
    """
    async with openrouter_fake() as upstream:
        service = VirtualService(upstream, _settings(folder, upstream, changes, chat=chat))
        try:
            yield service
        finally:
            await service.app.stop()


@asynccontextmanager
async def story_server(
    folder: Path,
    *,
    generation_info_wait: float = 3.0,
    chat: bool = False,
    models: Sequence[str | Mapping[str, Any]] = (),
    **changes: Any,
) -> AsyncIterator[StoryServer]:
    """A story service over a small OpenRouter; `changes` are settings. It waits briefly, and may retry at will.

    With `chat` the server is any other one with OpenAI's API. `models` are those that it lists.
    """
    async with openrouter_fake() as upstream:
        upstream.models = [{"id": model} if isinstance(model, str) else model for model in models]
        settings = _settings(folder, upstream, changes, chat=chat)
        app = build(
            settings, budget=RetryBudget(cap=math.inf), retry_delay=0.01, generation_info_wait=generation_info_wait
        )
        async with running(app, service="story", settings=settings) as service:
            yield StoryServer(upstream, service, story_pb2_grpc.StoryServiceStub(service.channel))


def told_before(call: Call) -> int:
    """How many sentences are out already, as the prompt of `call` gives them."""
    prompt = "\n".join(message["content"] for message in call.body["messages"])
    return next((count for count in range(len(SENTENCES), 0, -1) if joined(count) in prompt), 0)


def goes_on(call: Call, *, overlap: int = 0) -> Answer:
    """The answer of a model that goes on rightly, or begins where nothing is out.

    It repeats the last `overlap` sentences, but not the one with which the story begins. It adds nothing to a complete
    story.
    """
    told = told_before(call)
    if not told:
        return story(WHOLE)
    return story(TEXT[len(joined(min(told, max(told - overlap, 1)))) :].lstrip(" ") or "The End")
