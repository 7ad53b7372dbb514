"""Asks a chat model for a judgement on a text: each call is within its limits, and in the ledger."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, TypeVar

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.outgoing import OutgoingCalls
from servicekit.resilience.retry import RetryPolicy
from story_service.answer.stream_text import read_text
from story_service.chat import ChatRequest, ChatStarted, ChatTimers, EndMark, Message, about_tokens
from story_service.errors import UnfitError
from story_service.generation.attempt_request import prompt_tokens
from story_service.generation.model_answer import CallFacts, ModelAnswer
from story_service.models.states import circuit_of
from story_service.ports import PURPOSE
from tale.common.v1.common_pb2 import (
    ATTEMPT_OUTCOME_CANCELLED,
    ATTEMPT_OUTCOME_FAILED,
    ATTEMPT_OUTCOME_STARTED,
    ATTEMPT_OUTCOME_SUCCEEDED,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from servicekit.resilience.circuit_queue import Circuit
    from servicekit.resilience.limits import ProviderLimits
    from servicekit.resilience.manager import BreakerManager
    from servicekit.resilience.outgoing import AuditLog
    from story_service.chat import ChatEvent, ChatModel
    from story_service.models.catalogue import Catalogue
    from story_service.ports import AttemptTitle, ModelCall
    from story_service.safety.ports import Note
    from tale.common.v1.common_pb2 import AttemptOutcome

T = TypeVar("T")

PROMPTS: Final[dict[str, Any]] = tomllib.loads(files(__package__).joinpath("prompts.toml").read_text("utf-8"))
"""What models are asked, and the words of their answers."""
RETRIES: Final = RetryPolicy(retries=2, delay=0.5, longest_wait=5.0)

_OBJECT: Final = re.compile(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")
_ANSWER_TOKENS: Final = 60
"""Of a judgement as it is expected; a model that thinks may write more."""
_MOST_TOKENS: Final = 4_000
_TOKENS_PER_WORD: Final = 4


class Judge:
    """One model, asked for one purpose."""

    def __init__(
        self,
        chat: ChatModel,
        *,
        model: str,
        purpose: str,
        breakers: BreakerManager,
        limits: ProviderLimits,
        audit: AuditLog,
        catalogue: Catalogue,
        timeout: float,
        free: bool = False,
        retries: RetryPolicy = RETRIES,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`model` is its id at the provider, `timeout` in seconds for a call; `free`: nothing is billed."""
        self._chat = chat
        self._model = model
        self._purpose = purpose
        self._system: str = PROMPTS[purpose]["prompt"].replace("{named}", ", ".join(PROMPTS[purpose]["named"]))
        self._schema: Mapping[str, Any] = json.loads(PROMPTS[purpose]["schema"])
        self._breakers = breakers
        self._calls = OutgoingCalls(chat.provider, breakers=breakers, policy=retries, audit=audit, limits=limits)
        self._catalogue = catalogue
        self._timeout = timeout
        self._attempts = retries.retries + 1
        self._free = free
        self._now = now

    @property
    def circuit(self) -> Circuit:
        """The circuit breaker of the model."""
        return self._breakers.get(circuit_of(self._chat.provider, self._model), provider=self._chat.provider)

    async def ask(self, text: str, read: Callable[[str], T | None], *, note: Note) -> T:
        """Returns what `read` makes of the answer about `text`; None is an answer that cannot be read.

        Raises ProviderError: CONTENT_POLICY where a content filter of the provider refuses the text.
        """
        request = ChatRequest(
            model=self._model,
            messages=(Message("system", self._system), Message("user", text)),
            temperature=0.0,
            max_tokens=_MOST_TOKENS,
            schema=self._schema,
        )
        return await self._calls.call(
            self._purpose,
            lambda attempt: self._once(request, read, note, attempt.ids),
            circuit=self.circuit.name,
            deadline=asyncio.get_running_loop().time() + self._timeout * self._attempts,
            may_repeat=lambda error: error.kind is not ProviderErrorKind.CONTENT_POLICY,
        )

    def most_usd(self, *, checks: int, words: int) -> float | None:
        """Returns about what so many calls on so many words cost at most, in US dollars; None without a price."""
        price = self._catalogue.highest_price_of(self._model)
        if price is None:
            return 0.0 if self._free else None
        return price.cost(checks * about_tokens(self._system) + _TOKENS_PER_WORD * words, checks * _ANSWER_TOKENS)

    async def _once(self, request: ChatRequest, read: Callable[[str], T | None], note: Note, ids: dict[str, str]) -> T:
        answer = _Judgement(
            CallFacts(model=self._model, provider=self._chat.provider, start_time=self._now(), free=self._free)
        )
        ids["model"] = self._model
        note(self._line(answer, request, ATTEMPT_OUTCOME_STARTED))
        timers = ChatTimers(total=self._timeout, first_token=self._timeout, idle=self._timeout)
        try:
            async with aclosing(self._chat.stream(request, timers)) as events:
                async for event in events:
                    # Nothing of it is released.
                    tuple(answer.take(event))
                    if isinstance(event, ChatStarted):
                        note(self._line(answer, request, ATTEMPT_OUTCOME_STARTED))
            ids["generation_id"] = answer.generation_id
            value = answer.judgement(read)
        except ProviderError as error:
            note(self._line(answer, request, ATTEMPT_OUTCOME_FAILED, error))
            raise
        except asyncio.CancelledError:
            note(self._line(answer, request, ATTEMPT_OUTCOME_CANCELLED))
            raise
        note(self._line(answer, request, ATTEMPT_OUTCOME_SUCCEEDED))
        return value

    def _line(
        self,
        answer: _Judgement,
        request: ChatRequest,
        outcome: AttemptOutcome.ValueType,
        error: ProviderError | None = None,
    ) -> ModelCall:
        price = self._catalogue.price_of(self._model)
        call = answer.call(
            outcome,
            end_time=None if outcome == ATTEMPT_OUTCOME_STARTED else self._now(),
            error=error,
            estimate=price.cost(prompt_tokens(request), about_tokens(answer.raw_text)) if price is not None else 0.0,
        )
        return replace(
            call,
            metadata={**call.metadata, PURPOSE: self._purpose},
            # Nothing more is to be learnt of a call whose cost is known.
            generation_id="" if call.spending.cost_known else call.generation_id,
            completion={},
        )


class _Judgement(ModelAnswer):
    """The answer of a judge, which writes nothing."""

    def judgement(self, read: Callable[[str], T | None]) -> T:
        """Returns what `read` makes of the answer. Raises ProviderError for a filtered one, and for None."""
        if self._ended is not None and self._ended.mark is EndMark.FILTERED:
            kind = ProviderErrorKind.CONTENT_POLICY
            raise ProviderError(kind, "a content filter refused it", provider=self._provider)
        value = read(read_text(self.raw_text, structured=False))
        if value is None:
            raise UnfitError("its judgement cannot be read", provider=self._provider, request_id=self.generation_id)
        return value

    def _taken(self, event: ChatEvent) -> Iterator[AttemptTitle]:
        del event
        yield from ()


def objects(answer: str) -> Iterator[Mapping[str, Any]]:
    """Yields the JSON objects in an answer, their keys in lower case."""
    for found in _OBJECT.findall(answer):
        try:
            value = json.loads(found)
        except (ValueError, RecursionError):
            continue
        yield {str(key).casefold(): each for key, each in value.items()}
