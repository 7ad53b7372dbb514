"""Stories in virtual time: a chat model that fails as a test says, behind the real limits, breakers and retries."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from servicekit.errors import DomainError
from servicekit.metrics import Metrics
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.limits import ProviderLimits
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import AuditLog
from servicekit.resilience.retry import RetryBudget, RetryPolicy
from standins.virtual_time import loop_time
from story_service.assignment import Assignment, Listener
from story_service.chat import ChatDelta, ChatEnded, ChatEvent, ChatRequest, ChatStarted, ChatTimers, UpstreamModel
from story_service.generation.attempt_request import RequestBuilder, RequestDefaults
from story_service.generation.chat_writer import ChatWriter
from story_service.generation.content import Delta
from story_service.generation.cost_ledger import Generations
from story_service.generation.generation import Completed, StoryGenerator
from story_service.generation.selection import ModelSelector
from story_service.metrics import StoryMetrics
from story_service.models.catalogue import Catalogue
from story_service.models.states import Paces, circuit_of
from story_service.ports import ModelWriter, Notice, Spending
from story_service.prompting.builder import PromptBuilder
from support.story_models import SENTENCES, TITLE, joined

MODEL: Final = "fake/one"
Failure: TypeAlias = ProviderError | TimeoutError | tuple[int, ProviderError]
"""A call that fails at once, that stalls until the timer of the first token, or that fails behind so many sentences."""

_FIRST_TOKEN: Final = 1.0
_PAUSE: Final = 0.5


def refused(status: int = 503, *, retry_after: float | None = None) -> ProviderError:
    """A refusal by the provider's server."""
    kinds = {402: ProviderErrorKind.QUOTA, 429: ProviderErrorKind.RATE, 400: ProviderErrorKind.INVALID_INPUT}
    kind = kinds.get(status, ProviderErrorKind.OVERLOAD)
    return ProviderError(kind, "it refused the call", provider="fake", status=status, retry_after=retry_after)


def cut() -> ProviderError:
    """An answer that ends too early."""
    return ProviderError(ProviderErrorKind.TRUNCATED, "the answer was cut", provider="fake")


@dataclass(slots=True)
class FakeChat:
    """Answers each call as `weather` says, None: well. `calls` are times and models."""

    weather: Callable[[ChatRequest], Failure | None] = lambda _: None
    provider: str = "fake"
    calls: list[tuple[float, str]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def stream(self, request: ChatRequest, timers: ChatTimers) -> AsyncGenerator[ChatEvent, None]:
        """Streams a story of which the prompt's part is left out."""
        self.calls.append((loop_time(), request.model))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            async for event in self._answer(request, timers):
                yield event
        finally:
            self.at_once -= 1

    async def _answer(self, request: ChatRequest, timers: ChatTimers) -> AsyncGenerator[ChatEvent, None]:
        failure = self.weather(request)
        prompt = "".join(message.content for message in request.messages)
        told = next((count for count in range(len(SENTENCES), 0, -1) if joined(count) in prompt), 0)
        if isinstance(failure, TimeoutError):
            await asyncio.sleep(timers.first_token)
            raise ProviderError(ProviderErrorKind.TIMEOUT, "it did not answer in time", provider="fake")
        await asyncio.sleep(0.1)
        if isinstance(failure, ProviderError):
            raise failure
        await asyncio.sleep(_FIRST_TOKEN)
        yield ChatStarted(generation_id="", model=request.model)
        if TITLE not in prompt:
            yield ChatDelta(f"{TITLE}\n\n")
        for count in range(told, len(SENTENCES)):
            if isinstance(failure, tuple) and count - told == failure[0]:
                raise failure[1]
            yield ChatDelta(joined(count + 1)[len(joined(count)) :])
            await asyncio.sleep(_PAUSE)
        if isinstance(failure, tuple):
            raise failure[1]
        yield ChatEnded(
            generation_id="",
            model=request.model,
            provider_name="",
            finish_reason="stop",
            spending=Spending(),
            created=0,
        )

    @property
    def reports_generations(self) -> bool:
        """Returns that it has none."""
        return False

    async def generation_info(self, generation_id: str, *, timeout: float) -> Mapping[str, Any]:
        """Returns nothing."""
        del generation_id, timeout
        return {}

    async def models(self, *, timeout: float) -> Sequence[UpstreamModel]:
        """Returns none."""
        del timeout
        return ()

    async def check_key(self, *, timeout: float) -> None:
        """Accepts it."""

    async def aclose(self) -> None:
        """Does nothing."""


@dataclass(slots=True)
class Told:
    """One story: its notices with their times, its end or its error, and when that was."""

    notices: list[tuple[float, Notice]] = field(default_factory=list)
    text: str = ""
    completed: Completed | None = None
    error: DomainError | None = None
    ended: float = 0.0

    @property
    def waits(self) -> list[float]:
        """Times of the notices of a wait."""
        return [when for when, notice in self.notices if notice.reason == "WAITING_FOR_PROVIDER"]


class Storm:
    """A story generator as the service builds it, on the loop's clock."""

    def __init__(
        self,
        chat: FakeChat,
        *models: str,
        concurrency: int = 64,
        writers: Mapping[str, ModelWriter] | None = None,
        seed: int = 1,
    ) -> None:
        models = models or (MODEL,)
        # Waits of retries are drawn from the module's own generator.
        random.seed(seed)
        metrics = StoryMetrics(Metrics(), models=models)
        self.breakers = BreakerManager(
            lambda name: BreakerConfig(
                name=name, shortest_cooldown=10.0, opens_when_refused=True, slow_call_seconds=15.0
            ),
            clock=loop_time,
            random=random.random,
        )
        self.limits = ProviderLimits(concurrency, provider="fake", clock=loop_time)
        writer = ChatWriter(
            chat,
            requests=RequestBuilder(prompts=PromptBuilder(), catalogue=Catalogue(), settings=RequestDefaults()),
            breakers=self.breakers,
            limits=self.limits,
            generations=Generations(chat, breakers=self.breakers, audit=AuditLog(), metrics=metrics),
            audit=AuditLog(),
            metrics=metrics,
            paces=Paces(),
        )
        self.generator = StoryGenerator(
            selector=ModelSelector(default_model=models[0], fallback_models=models[1:], providers=["openrouter"]),
            writers={"openrouter": writer, **(writers or {})},
            policy=RetryPolicy(longest_wait=60.0),
            budget=RetryBudget(concurrency=concurrency, clock=loop_time),
            circuit=self.circuit,
        )

    def circuit(self, model: str = MODEL) -> Any:
        """Returns the circuit breaker of a model."""
        return self.breakers.get(circuit_of("fake", model), provider="fake")

    async def tell(self, *, provider_wait: float = 600.0, **assignment: Any) -> Told:
        """Has one story written."""
        told = Told()
        written = Assignment(
            story_id="id", child=Listener(name="Mia"), length_minutes=1, provider_wait=provider_wait, **assignment
        )
        try:
            async for item in self.generator.generate(written):
                if isinstance(item, Notice):
                    told.notices.append((loop_time(), item))
                elif isinstance(item, Delta):
                    told.text += item.text
                elif isinstance(item, Completed):
                    told.completed = item
        except DomainError as error:
            told.error = error
        told.ended = loop_time()
        return told

    async def many(self, stories: int, *, over: float = 0.0, **how: Any) -> list[Told]:
        """Has so many stories written, begun evenly within `over` seconds."""

        async def later(number: int) -> Told:
            await asyncio.sleep(over * number / stories)
            return await self.tell(**how)

        return await asyncio.gather(*(later(number) for number in range(stories)))
