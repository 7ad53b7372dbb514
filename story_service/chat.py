"""What the service asks of a provider of chat models."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from servicekit.resilience.errors import ProviderError, ProviderErrorKind, Treatment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from story_service.ports import Spending

Role: TypeAlias = Literal["system", "user", "assistant"]
"""Who says a message."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What to ask of a model; None leaves the choice to the provider.

    `temperature` from 0 to 2, `max_tokens` of the answer. `prefill`: the last message is an assistant's, and the answer
    goes on behind its last character.
    """

    model: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    prefill: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTimers:
    """How long a model may be waited for, in seconds; the time that the reader of the answer takes is not counted.

    `first_token` is from the call to the first text, `idle` from one text to the next, and `total` to the end. What
    a provider sends to keep the line open (comments, events without text) stops none of them.
    """

    total: float
    first_token: float = 30.0
    idle: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatStarted:
    """The model has taken the call. `generation_id` is the provider's, "" where it gives none; `model` as it says."""

    generation_id: str
    model: str


@dataclass(frozen=True, slots=True)
class ChatDelta:
    """Some text, never empty."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatEnded:
    """The model says that it has said everything.

    `provider_name` is who ran the model for the provider, `created` in Unix seconds, `usage` as the provider gave it
    (JSON, empty where it gave none). `spending.cost_known` is False where the answer named no cost.
    """

    generation_id: str
    model: str
    provider_name: str
    finish_reason: str
    spending: Spending
    created: int
    usage: Mapping[str, Any] = field(default_factory=dict)


ChatEvent: TypeAlias = ChatStarted | ChatDelta | ChatEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamModel:
    """A model that the provider offers now. Prices in US dollars for a million tokens, None where unknown or varying.

    `context_length` and `max_completion_tokens` in tokens, None where unknown.
    """

    id: str
    name: str
    prompt_usd_per_million_tokens: float | None = None
    completion_usd_per_million_tokens: float | None = None
    context_length: int | None = None
    max_completion_tokens: int | None = None


class OutOfTokensError(ProviderError):
    """The answer reached the tokens that it may have: it is cut, and the model that wrote it is well.

    `spending` is what the provider said of its price.
    """

    def __init__(self, *, provider: str, request_id: str, spending: Spending) -> None:
        super().__init__(
            ProviderErrorKind.TRUNCATED, "the answer was cut at its bound", provider=provider, request_id=request_id
        )
        self.spending = spending

    @property
    def treatment(self) -> Treatment:
        """That of a cut answer, but it does not speak against the provider's health."""
        return replace(super().treatment, break_circuit=False)


class ChatModel(Protocol):
    """Chat models behind one key. Each method is one call upstream at most, but for `generation_info`; none retries.

    Every failure is a ProviderError (servicekit.resilience.errors).
    """

    @property
    def provider(self) -> str:
        """Name of the provider, as it stands in errors and in the ledger."""

    def stream(self, request: ChatRequest, timers: ChatTimers) -> AsyncGenerator[ChatEvent, None]:
        """Ask: ChatStarted, ChatDelta…, and ChatEnded last, only after a proper end (`finish_reason` "stop").

        ChatStarted is missing where not even an id came; it is the way to what a call cost that failed later. Close
        the generator (`contextlib.aclosing`) when it is left early; that ends the call upstream. Raises
        ProviderError: TIMEOUT when a timer runs out, TRUNCATED for an answer that is cut, empty or too long
        (OutOfTokensError where it came to its `max_tokens`),
        CONTENT_POLICY where a filter ended it, TRANSPORT for what can not be read, and the kinds of the provider's
        own errors, before the first text or after it.
        """

    async def generation_info(self, generation_id: str, *, timeout: float) -> Mapping[str, Any]:
        """What the provider tells of a generation: JSON such as total_cost, native tokens and provider_name.

        It is asked for again while the provider does not know it yet, at most `timeout` seconds in all. Raises
        ProviderError: TIMEOUT when it is not there by then, UNSUPPORTED for an id that can be none (such as "").
        """

    async def models(self, *, timeout: float) -> Sequence[UpstreamModel]:
        """The models that can be asked for now, within `timeout` seconds. Raises ProviderError."""

    async def check_key(self, *, timeout: float) -> None:
        """Ask the provider about the key; it costs nothing. Raises ProviderError: AUTH where the key is refused."""

    async def aclose(self) -> None:
        """Close the connections."""
