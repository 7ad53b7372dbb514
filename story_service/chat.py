"""The port to a provider of chat models."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from servicekit.addresses import is_own_network
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from story_service.ports import OPENROUTER

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from story_service.ports import Spending

_BYTES_PER_TOKEN: Final = 3
"""On the low side for any language."""

Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A request to a model; None leaves the choice to the provider.

    `temperature` from 0 to 2, `max_tokens` of the answer. `prefill`: the last message is an assistant's, and the answer
    continues after its last character. `schema` is the JSON schema of a structured answer; a model that takes none is
    asked without it.
    """

    model: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    prefill: bool = False
    schema: Mapping[str, Any] | None = None


def about_tokens(text: str) -> int:
    """Returns about how many tokens `text` is in any language, rather more than less."""
    return math.ceil(len(text.encode()) / _BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTimers:
    """Timeouts of a call in seconds; time that the reader of the answer takes does not count.

    `first_token` runs from the call to the first text or thought, and starts again while the server says that it loads
    the model; `idle` from one text or thought to the next, and `total` to the end. What a provider sends to keep the
    connection open resets none of them.
    """

    total: float
    first_token: float = 30.0
    idle: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatStarted:
    """The model has accepted the call. `generation_id` is the provider's, "" without one; `model` as it reports."""

    generation_id: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatWorking:
    """The model thinks, or with `loading` the server loads it: there is no text, and the call continues."""

    loading: bool = False


@dataclass(frozen=True, slots=True)
class ChatDelta:
    """Some text, never empty."""

    text: str


class EndMark(Enum):
    """How an answer ended, by the finish reason in any spelling and by the end of the stream."""

    PROPER = "proper"
    """The model says that it has finished."""
    OUT_OF_TOKENS = "out_of_tokens"
    """It reached its maximum of tokens."""
    FILTERED = "filtered"
    """A content filter ended it."""
    UNKNOWN = "unknown"
    """The stream was ended properly ([DONE], or a whole body), with no reason or one that says nothing."""
    NONE = "none"
    """The stream just ended: it may have been cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatEnded:
    """The answer has ended. Whether it is a whole story is for its reader to judge, by its text and by `mark`.

    `provider_name` is the company that ran the model, `created` in Unix seconds, `usage` as the provider reports it
    (JSON, may be empty). `spending.cost_known` is False where the answer has no cost.
    """

    generation_id: str
    model: str
    provider_name: str
    finish_reason: str
    spending: Spending
    created: int
    mark: EndMark = EndMark.PROPER
    usage: Mapping[str, Any] = field(default_factory=dict)


ChatEvent: TypeAlias = ChatStarted | ChatWorking | ChatDelta | ChatEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A configured server of models: its provider's name, its address, and the settings that errors name."""

    provider: str
    url: str
    key_variable: str
    url_variable: str
    has_key: bool = True

    @property
    def is_local(self) -> bool:
        """True for a server on this machine or in its network, whose timers are long and whose calls queue."""
        return self.provider != OPENROUTER and is_own_network(self.url)

    @property
    def is_free(self) -> bool:
        """True where its calls are not billed."""
        return self.is_local and not self.has_key

    @property
    def title(self) -> str:
        """Its name in sentences."""
        return "OpenRouter" if self.provider == OPENROUTER else f"The server at {self.url_variable}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamModel:
    """A model that the provider offers now. Prices in US dollars per million tokens, None where unknown or varying.

    `context_length` and `max_completion_tokens` in tokens, None where unknown. `writes` is False for a model that is
    known to do something else: embeddings, ranking, speech, images.
    """

    id: str
    name: str
    writes: bool = True
    prompt_usd_per_million_tokens: float | None = None
    completion_usd_per_million_tokens: float | None = None
    context_length: int | None = None
    max_completion_tokens: int | None = None


class OutOfTimeError(ProviderError):
    """The answer took all the time that one may take, as the next one would."""

    def __init__(self, *, provider: str) -> None:
        super().__init__(ProviderErrorKind.TIMEOUT, "the answer took too long", provider=provider)


class ChatModel(Protocol):
    """Chat models behind one key. Each method is at most one call upstream, except `generation_info`; none retries.

    Every error is a ProviderError (servicekit.resilience.errors).
    """

    @property
    def provider(self) -> str:
        """Name of the provider in errors and in the ledger."""

    @property
    def reports_generations(self) -> bool:
        """True where the provider reports its generations; else `generation_info` is never called."""

    def stream(self, request: ChatRequest, timers: ChatTimers) -> AsyncGenerator[ChatEvent, None]:
        """Yields ChatStarted, ChatDelta…, and ChatEnded last, however the answer ended: its `mark` says how.

        ChatStarted is missing where not even an id came; its id leads to the cost of a call that fails later. Close the
        generator (`contextlib.aclosing`) to leave it early; that ends the call upstream. Raises ProviderError: TIMEOUT,
        TRUNCATED for an answer that is too long, TRANSPORT for a broken connection and for what cannot be read, and the
        provider's own errors, before or after the first text.
        """

    async def generation_info(self, generation_id: str, *, timeout: float) -> Mapping[str, Any]:
        """Returns what the provider reports of a generation: JSON such as total_cost, native tokens and provider_name.

        Polls while the provider does not know it yet, for at most `timeout` seconds. Raises ProviderError: TIMEOUT when
        it is not there by then, UNSUPPORTED for an invalid id (such as "").
        """

    async def models(self, *, timeout: float) -> Sequence[UpstreamModel]:
        """Returns the models that are offered now, within `timeout` seconds. Raises ProviderError."""

    async def check_key(self, *, timeout: float) -> None:
        """Checks the key at the provider, free of cost. Raises ProviderError: AUTH where it is refused."""

    async def aclose(self) -> None:
        """Closes the connections."""
