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

from servicekit.ids import new_id
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.outgoing import OutgoingCalls
from servicekit.resilience.retry import RetryPolicy
from story_service.answer.tokens import RESTART, Tokens
from story_service.chat import (
    ChatDelta,
    ChatEnded,
    ChatRequest,
    ChatStarted,
    ChatTimers,
    EndMark,
    Message,
    about_tokens,
)
from story_service.errors import UnfitError, why
from story_service.models.states import circuit_of
from story_service.ports import PURPOSE, ModelCall, Spending
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
    from story_service.chat import ChatModel
    from story_service.models.catalogue import Catalogue
    from story_service.safety.ports import Note

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
        ids["model"] = self._model
        call = ModelCall(
            call_id=new_id(),
            provider=self._chat.provider,
            model=self._model,
            outcome=ATTEMPT_OUTCOME_STARTED,
            start_time=self._now(),
            metadata={PURPOSE: self._purpose},
        )
        note(call)
        pieces: list[str] = []
        ended: ChatEnded | None = None
        timers = ChatTimers(total=self._timeout, first_token=self._timeout, idle=self._timeout)
        try:
            async with asyncio.timeout(self._timeout), aclosing(self._chat.stream(request, timers)) as events:
                async for event in events:
                    if isinstance(event, ChatStarted):
                        ids["generation_id"] = event.generation_id
                        call = replace(call, generation_id=event.generation_id)
                    elif isinstance(event, ChatDelta):
                        pieces.append(event.text)
                    elif isinstance(event, ChatEnded):
                        ended = event
            value = self._read("".join(pieces), ended, read)
        except TimeoutError:
            late = ProviderError(ProviderErrorKind.TIMEOUT, "it took too long", provider=self._chat.provider)
            note(self._ended(call, request, pieces, ended, late))
            raise late from None
        except ProviderError as error:
            note(self._ended(call, request, pieces, ended, error))
            raise
        except asyncio.CancelledError:
            note(replace(self._ended(call, request, pieces, ended), outcome=ATTEMPT_OUTCOME_CANCELLED))
            raise
        note(self._ended(call, request, pieces, ended))
        return value

    def _read(self, answer: str, ended: ChatEnded | None, read: Callable[[str], T | None]) -> T:
        request_id = ended.generation_id if ended is not None else ""
        if ended is not None and ended.mark is EndMark.FILTERED:
            raise ProviderError(
                ProviderErrorKind.CONTENT_POLICY,
                "a content filter refused it",
                provider=self._chat.provider,
                request_id=request_id,
            )
        value = read(_without_thoughts(answer))
        if value is None:
            raise UnfitError("its judgement cannot be read", provider=self._chat.provider, request_id=request_id)
        return value

    def _ended(
        self,
        call: ModelCall,
        request: ChatRequest,
        pieces: list[str],
        ended: ChatEnded | None,
        error: ProviderError | None = None,
    ) -> ModelCall:
        billed = error is None or error.billed
        spending = ended.spending if ended is not None else Spending(cost_known=not billed)
        if not spending.cost_known:
            price = self._catalogue.price_of(self._model)
            prompt = sum(about_tokens(message.content) for message in request.messages)
            cost = 0.0 if price is None else price.cost(prompt, about_tokens("".join(pieces)))
            spending = replace(spending, cost_usd=cost, cost_known=self._free)
        return replace(
            call,
            # Nothing more is to be learnt of a call whose cost is known.
            generation_id="" if spending.cost_known else call.generation_id,
            outcome=ATTEMPT_OUTCOME_SUCCEEDED if error is None else ATTEMPT_OUTCOME_FAILED,
            end_time=self._now(),
            reason="" if error is None else why(error),
            spending=spending,
            metadata={**call.metadata, **({} if billed else {"billed": "false"})},
        )


def _without_thoughts(answer: str) -> str:
    tokens = Tokens()
    return (tokens.feed(answer) + tokens.finish()).rpartition(RESTART)[2]


def objects(answer: str) -> Iterator[Mapping[str, Any]]:
    """Yields the JSON objects in an answer, their keys in lower case."""
    for found in _OBJECT.findall(answer):
        try:
            value = json.loads(found)
        except (ValueError, RecursionError):
            continue
        yield {str(key).casefold(): each for key, each in value.items()}
