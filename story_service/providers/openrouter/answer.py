"""What OpenRouter's answers hold: events or one body, a completion put together from them, and lists of models."""

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from story_service.assignment import MAX_CONTENT_LENGTH
from story_service.chat import ChatEnded, ChatStarted, OutOfTokensError, UpstreamModel
from story_service.ports import Spending, money
from story_service.providers.openrouter.errors import PROVIDER, failure, object_failure, safe_id

if TYPE_CHECKING:
    from story_service.providers.openrouter.sdk import Reply

MAX_LINE_BYTES: Final = 262_144
"""Most bytes of one line."""

BOM: Final = b"\xef\xbb\xbf"
"""May stand before the first line."""

_DATA: Final = b"data:"


class EventLines:
    """Cuts a stream of bytes into the values of `data:`. Comments, other fields and empty lines are dropped."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Returns the events that end in `chunk`. Raises ProviderError TRANSPORT for a line that is too long."""
        # A line ends with CR LF, LF or CR; the empty lines between the two of the first are dropped anyhow.
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        if end < 0:
            self._keep(chunk)
            return []
        lines = (bytes(self._rest) + chunk[:end]).replace(b"\r", b"\n").split(b"\n")
        if self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(BOM)
        self._rest.clear()
        self._keep(chunk[end + 1 :])
        payloads = [line[len(_DATA) :].strip() for line in lines if line.startswith(_DATA)]
        return [payload for payload in payloads if payload]

    def end(self) -> list[bytes]:
        """Returns the event of a last line without a line break."""
        return self.feed(b"\n")

    def _keep(self, tail: bytes) -> None:
        self._rest += tail
        if len(self._rest) > MAX_LINE_BYTES:
            raise failure(ProviderErrorKind.TRANSPORT)


MAX_BODY_BYTES: Final = 1_048_576
"""Most bytes of an answer that is not streamed."""

_DONE: Final = b"[DONE]"
_FIELDS: Final = (b":", b"data:", b"event:", b"id:", b"retry:")
_LONGEST_FIELD: Final = max(map(len, _FIELDS))


class Payloads:
    """The JSON texts of an answer: its events, or the one body of a server that does not stream.

    Servers and proxies name the wrong type now and then, so a stream is recognised by its first bytes too.
    """

    def __init__(self, reply: "Reply") -> None:
        self._reply = reply
        self.streamed = reply.headers.get("content-type", "").lower().startswith("text/event-stream")
        """True for events, False for one body, or as long as it is not known."""
        self._known = self.streamed
        self._lines = EventLines()
        self._body = bytearray()
        self.ended = False
        """True once there is no more."""

    async def read(self) -> list[bytes]:
        """Returns those that came with the next bytes, perhaps none. Raises ProviderError TRANSPORT."""
        chunk = await self._reply.read()
        self.ended = not chunk
        if not self.streamed:
            self._hold(chunk)
            self.streamed = self._looks_streamed()
            if not self.streamed:
                return [bytes(self._body)] if self.ended else []
            chunk = bytes(self._body)
            self._body.clear()
        payloads = self._lines.feed(chunk)
        if self.ended:
            payloads += self._lines.end()
        if _DONE in payloads:
            payloads = payloads[: payloads.index(_DONE)]
            self.ended = True
        return payloads

    def _hold(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > MAX_BODY_BYTES:
            raise failure(ProviderErrorKind.TRANSPORT)

    def _looks_streamed(self) -> bool:
        """Returns True once it is known to be a stream after all."""
        if self._known:
            return False
        start = self._body[:MAX_LINE_BYTES].removeprefix(BOM).lstrip()
        self._known = self.ended or len(start) >= _LONGEST_FIELD
        return self._known and start.startswith(_FIELDS)


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


class Completion:
    """Reads events one by one. Names of `headers` are in lower case, or the mapping ignores case."""

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
        """Returns the text of an event, "" for none. Raises ProviderError for an error, and for what is no event."""
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
        """Returns the end of a complete answer. Raises ProviderError for one that is cut, empty, or ended otherwise."""
        if not self.finish_reason:
            raise self.failure(ProviderErrorKind.TRUNCATED, "the answer was cut")
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
        """Returns an error of this answer."""
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
        """Returns `text` with characters joined whose UTF-16 halves came in two events."""
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        try:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            raise self.failure(ProviderErrorKind.TRANSPORT) from None


def decoded_object(payload: bytes) -> dict[str, Any] | None:
    """Returns the JSON object in `payload`, None where it holds none."""
    try:
        event = _JSON.decode(payload.decode())
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _name(value: object) -> str:
    """Returns `value` if it is a name that may be logged, else ""."""
    return value if isinstance(value, str) and len(value) <= _MAX_NAME_LENGTH and value.isprintable() else ""


_MAX_TOKENS: Final = 2**31 - 1


def spending_of(usage: Mapping[str, Any]) -> Spending:
    """Returns the `usage` of a chat completion; the cost is unknown where it names none.

    With an own key at the company that ran the model, `cost` is OpenRouter's fee alone, and that company's price is
    beside it (openrouter.ai/docs, Usage Accounting).
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


MAX_MODELS: Final = 10_000
"""Most models that are taken from a list."""


def upstream_models(body: Mapping[str, Any]) -> tuple[UpstreamModel, ...]:
    """Returns the models of a list, in order, without unreadable entries. Raises ValueError for no list."""
    entries = body.get("data")
    if not isinstance(entries, list):
        raise ValueError("no list of models")  # noqa: TRY004 - the value of an upstream
    return tuple(model for entry in entries[:MAX_MODELS] if (model := _model(entry)) is not None)


def _model(entry: object) -> UpstreamModel | None:
    if not isinstance(entry, dict):
        return None
    identifier = _name(entry.get("id"))
    if not identifier:
        return None
    pricing, top = entry.get("pricing"), entry.get("top_provider")
    pricing = pricing if isinstance(pricing, dict) else {}
    top = top if isinstance(top, dict) else {}
    return UpstreamModel(
        id=identifier,
        name=_name(entry.get("name")) or identifier,
        prompt_usd_per_million_tokens=_per_million(pricing.get("prompt")),
        completion_usd_per_million_tokens=_per_million(pricing.get("completion")),
        context_length=_count(entry.get("context_length")),
        max_completion_tokens=_count(top.get("max_completion_tokens")),
    )


def _per_million(price: object) -> float | None:
    """Returns US dollars per million tokens from those per token; None for "-1", which means that it varies."""
    try:
        value = Decimal(str(price)) * 1_000_000
    except InvalidOperation:
        return None
    return float(value) if value.is_finite() and 0 <= value < 1_000_000 else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None
