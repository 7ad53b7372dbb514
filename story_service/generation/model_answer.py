"""One call to a chat model: what it answers, and its line in the ledger."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from offline_writer import Outline
from servicekit.errors import DomainError
from servicekit.ids import new_id
from servicekit.resilience.errors import ProviderError
from story_service.chat import ChatDelta, ChatEnded, ChatEvent, ChatStarted
from story_service.errors import why
from story_service.ports import AttemptEnded, AttemptText, AttemptTitle, ModelCall, Spending

if TYPE_CHECKING:
    from tale.common.v1.common_pb2 import AttemptOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFacts:
    """What is known of a call before it is made; `free`: the provider bills nothing."""

    model: str
    provider: str
    start_time: datetime
    free: bool = False


class ModelAnswer(ABC):
    """Records an answer for the ledger; what is read of it is for a subclass to say."""

    def __init__(self, facts: CallFacts) -> None:
        self._facts = facts
        self._provider = facts.provider
        self._call_id = new_id()
        self._began = asyncio.get_running_loop().time()
        self._raw: list[str] = []
        self._started: ChatStarted | None = None
        self._ended: ChatEnded | None = None
        self._end: AttemptEnded | None = None
        self.first_token_seconds: float | None = None
        """Seconds from the call to its first text, None before it."""

    @property
    def complete(self) -> bool:
        """True once there is what was asked for: what the model still writes is not needed."""
        return self._end is not None

    @property
    def raw_text(self) -> str:
        """What the model wrote, unchanged."""
        return "".join(self._raw)

    @property
    def seconds(self) -> float:
        """Seconds since the call."""
        return asyncio.get_running_loop().time() - self._began

    @property
    def generation_id(self) -> str:
        """The provider's id of the call, "" before it is known."""
        known = self._ended or self._started
        return known.generation_id if known is not None else ""

    @property
    def words(self) -> int:
        """Words of the story that this attempt has released."""
        return 0

    def take(self, event: ChatEvent) -> Iterator[AttemptTitle | AttemptText | Outline]:
        """Yields what may be released after `event`. Raises ProviderError and DomainError."""
        match event:
            case ChatStarted():
                self._started = event
            case ChatDelta():
                if self.first_token_seconds is None:
                    self.first_token_seconds = self.seconds
                self._raw.append(event.text)
            case ChatEnded():
                self._ended = event
        yield from self._taken(event)

    def call(
        self,
        outcome: "AttemptOutcome.ValueType",
        *,
        end_time: datetime | None = None,
        error: ProviderError | DomainError | None = None,
        estimate: float = 0.0,
    ) -> ModelCall:
        """Returns the line of the ledger. `estimate` replaces a cost, in US dollars, that is not known yet."""
        upstream = error if isinstance(error, ProviderError) else None
        generation_id = self.generation_id or _generation_id(upstream)
        metadata = {
            "generation_id": generation_id,
            "provider_name": self._ended.provider_name if self._ended is not None else "",
            "upstream_request_id": upstream.request_id if upstream is not None else "",
            "http_status": str(upstream.status) if upstream is not None and upstream.status else "",
            "billed": "false" if upstream is not None and not upstream.billed else "",
        }
        return ModelCall(
            call_id=self._call_id,
            provider=self._provider,
            model=self._facts.model,
            outcome=outcome,
            start_time=self._facts.start_time,
            end_time=end_time,
            reason="" if error is None else why(error),
            spending=self._spending(upstream, estimate),
            metadata={key: value for key, value in metadata.items() if value},
            generation_id=generation_id,
            completion=self._completion() if self._started is not None or self._raw else {},
        )

    def facts(self) -> dict[str, int | float]:
        """Returns what the span of the call says of it."""
        spending = self._spending(None, 0.0)
        return {
            "gen_ai.usage.input_tokens": spending.prompt_tokens,
            "gen_ai.usage.output_tokens": spending.completion_tokens,
            "tale.cost_usd": spending.cost_usd,
        }

    def let_go(self) -> Iterator[AttemptText]:
        """Yields what was held of an answer that has failed and belongs to the story."""
        yield from ()

    def ended(self) -> AttemptEnded:
        """Returns the end of a successful attempt."""
        if self._end is None:
            raise ValueError("the attempt has not ended")
        return self._end

    @abstractmethod
    def _taken(self, event: ChatEvent) -> Iterator[AttemptTitle | AttemptText | Outline]:
        """Yields what a subclass reads of `event`."""

    def _spending(self, error: ProviderError | None, estimate: float) -> Spending:
        if self._ended is not None:
            spending = self._ended.spending
        elif error is not None and not self.generation_id and not error.billed:
            return Spending()
        else:
            spending = Spending(cost_known=False)
        if spending.cost_known:
            return spending
        return Spending(
            prompt_tokens=spending.prompt_tokens,
            completion_tokens=spending.completion_tokens,
            cost_usd=estimate,
            cost_known=self._facts.free,
        )

    def _completion(self) -> dict[str, Any]:
        """Returns the answer as one chat completion; a cut one has no finish_reason and may have no usage."""
        ended, started = self._ended, self._started
        known = ended or started
        return {
            "id": self.generation_id,
            "object": "chat.completion",
            "created": (ended.created if ended is not None else 0) or int(self._facts.start_time.timestamp()),
            "provider": (ended.provider_name if ended is not None else "") or self._provider,
            "model": (known.model if known is not None else "") or self._facts.model,
            "choices": [
                {
                    "index": 0,
                    "finish_reason": (ended.finish_reason or None) if ended is not None else None,
                    "message": {"role": "assistant", "content": self.raw_text},
                }
            ],
            "usage": dict(ended.usage) if ended is not None else None,
        }


def _generation_id(error: ProviderError | None) -> str:
    """Returns the id of a generation that failed before its first event; with a status it is that of a refusal."""
    return error.request_id if error is not None and not error.status else ""
