"""One answer of a model, put together from its events and judged at its end."""

import json
from collections.abc import Mapping
from typing import Any, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from story_service.assignment import MAX_CONTENT_LENGTH
from story_service.chat import ChatEnded, ChatStarted, OutOfTokensError
from story_service.ports import Spending, money
from story_service.providers.openrouter.failures import PROVIDER, failure, object_failure, safe_id

MAX_ANSWER_LENGTH: Final = MAX_CONTENT_LENGTH + 8_192
"""Most code points of an answer: a story at its longest, and what stands around it."""

_PROPER: Final = frozenset({"stop", "end_turn", "eos", "stop_sequence"})
_OUT_OF_TOKENS: Final = frozenset({"length", "max_tokens", "max_output_tokens"})
_IMPROPER: Final[Mapping[str, ProviderErrorKind]] = {
    "content_filter": ProviderErrorKind.CONTENT_POLICY,
    "error": ProviderErrorKind.OVERLOAD,
}
_MAX_NAME_LENGTH: Final = 200


def _refuse(constant: str) -> float:
    raise ValueError(constant)


_JSON: Final = json.JSONDecoder(parse_constant=_refuse)


class Answer:
    """Takes events one by one. `headers` are those of the answer, with names in lower case or a mapping that cares."""

    def __init__(self, model: str, headers: Mapping[str, str]) -> None:
        self.generation_id = safe_id(headers.get("x-generation-id"))
        """The provider's id of the call, "" until it is known."""
        self.finish_reason = ""
        """Why the model ended, "" until it says so."""
        self._headers = headers
        self._asked_model = model
        self._model = ""
        self._provider_name = ""
        self._created = 0
        self._usage: dict[str, Any] = {}
        self._length = 0
        self._blank = True
        self._refused = False
        self._half = ""

    @property
    def started(self) -> ChatStarted:
        """What is known of the call so far."""
        return ChatStarted(generation_id=self.generation_id, model=self._model or self._asked_model)

    def feed(self, payload: bytes) -> str:
        """The text of an event, "" where it has none. Raises ProviderError for an error, and for what is no event."""
        event = decoded_object(payload)
        if event is None:
            raise self.failure(ProviderErrorKind.TRANSPORT)
        if event.get("error"):
            raise object_failure(event["error"], self._headers, request_id=self.generation_id)
        self._identify(event)
        choices = event.get("choices")
        if not choices:
            return ""
        choice = choices[0] if isinstance(choices, list) else None
        if not isinstance(choice, dict):
            raise self.failure(ProviderErrorKind.TRANSPORT)
        if choice.get("error"):
            raise object_failure(choice["error"], self._headers, request_id=self.generation_id)
        finish_reason = choice.get("finish_reason")
        if finish_reason:
            self.finish_reason = _name(finish_reason) or "unknown"
        said = choice.get("delta") or choice.get("message")
        return self._text(said) if said else ""

    def end(self) -> ChatEnded:
        """The end of a whole answer. Raises ProviderError for one that is cut, empty, or ended by something else."""
        if not self.finish_reason:
            raise self.failure(ProviderErrorKind.TRUNCATED, "the answer broke off")
        if self.finish_reason in _OUT_OF_TOKENS:
            raise OutOfTokensError(provider=PROVIDER, request_id=self.generation_id, spending=spending_of(self._usage))
        if self.finish_reason not in _PROPER:
            raise self.failure(_IMPROPER.get(self.finish_reason, ProviderErrorKind.TRUNCATED))
        if self._half:
            raise self.failure(ProviderErrorKind.TRANSPORT)
        if self._blank:
            kind = ProviderErrorKind.CONTENT_POLICY if self._refused else ProviderErrorKind.TRUNCATED
            raise self.failure(kind, "" if self._refused else "the answer was empty")
        return ChatEnded(
            generation_id=self.generation_id,
            model=self._model or self._asked_model,
            provider_name=self._provider_name,
            finish_reason=self.finish_reason,
            spending=spending_of(self._usage),
            created=self._created,
            usage=self._usage,
        )

    def failure(self, kind: ProviderErrorKind, message: str = "") -> ProviderError:
        """An error of this answer."""
        return failure(kind, message, request_id=self.generation_id)

    def _identify(self, event: dict[str, Any]) -> None:
        if not self._model:
            self.generation_id = self.generation_id or safe_id(event.get("id"))
            self._model = _name(event.get("model"))
            created = event.get("created")
            self._created = created if isinstance(created, int) and 0 <= created < 2**53 else 0
        if not self._provider_name:
            self._provider_name = _name(event.get("provider"))
        usage = event.get("usage")
        if isinstance(usage, dict):
            self._usage = usage

    def _text(self, said: Any) -> str:
        if not isinstance(said, dict):
            raise self.failure(ProviderErrorKind.TRANSPORT)
        text = said.get("content")
        if not text:
            self._refused = self._refused or bool(said.get("refusal"))
            return ""
        if not isinstance(text, str):
            raise self.failure(ProviderErrorKind.TRANSPORT)
        if self._half or not text.isascii():
            text = self._joined(text)
        self._length += len(text)
        if self._length > MAX_ANSWER_LENGTH:
            raise self.failure(ProviderErrorKind.TRUNCATED, "the answer was too long")
        self._blank = self._blank and not text.strip()
        return text

    def _joined(self, text: str) -> str:
        """`text` with characters put together whose UTF-16 halves came in two events."""
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        try:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            raise self.failure(ProviderErrorKind.TRANSPORT) from None


def decoded_object(payload: bytes) -> dict[str, Any] | None:
    """The JSON object in `payload`, None where it holds none."""
    try:
        event = _JSON.decode(payload.decode())
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _name(value: object) -> str:
    """`value`, if it is a name such as may stand in a log; else ""."""
    return value if isinstance(value, str) and len(value) <= _MAX_NAME_LENGTH and value.isprintable() else ""


_MAX_TOKENS: Final = 2**31 - 1


def spending_of(usage: Mapping[str, Any]) -> Spending:
    """What `usage` of a chat completion says; the cost is unknown where it names none.

    With a key of one's own at the company that ran the model, `cost` is OpenRouter's fee alone and that company's price
    stands beside it (openrouter.ai/docs, Usage Accounting).
    """
    cost = money(usage.get("cost"))
    details = usage.get("cost_details")
    if cost is not None and usage.get("is_byok") and isinstance(details, dict):
        cost += money(details.get("upstream_inference_cost")) or 0.0
    return Spending(
        prompt_tokens=_tokens(usage.get("prompt_tokens")),
        completion_tokens=_tokens(usage.get("completion_tokens")),
        cost_usd=cost or 0.0,
        cost_known=cost is not None,
    )


def _tokens(value: object) -> int:
    return min(value, _MAX_TOKENS) if isinstance(value, int) and value > 0 else 0
