"""One completion, put together from its events."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from story_service.assignment import MAX_CONTENT_LENGTH
from story_service.chat import ChatDelta, ChatEnded, ChatEvent, ChatStarted, ChatWorking, EndMark
from story_service.ports import Spending, money
from story_service.providers.chat.errors import Failures
from story_service.providers.chat.repeats import Repeats
from story_service.providers.chat.report import decoded, is_error

MAX_ANSWER_LENGTH: Final = MAX_CONTENT_LENGTH + 8_192
"""Most code points of an answer: a story at its longest, and what stands around it."""

_FILTERED: Final = re.compile(
    "filter|safety|unsafe|sensitive|policy|moderat|toxic|block|prohibit|refus|guardrail|recitation|spii|violat"
)
_OUT_OF_TOKENS: Final = re.compile("length|max|limit|exceed|truncat")
_BROKEN: Final = re.compile("error|fail|insufficient")
_ABORTED: Final = re.compile("abort|cancel|interrupt")
_PROPER: Final = re.compile(r"stop|eos|eot|\bend|complete|finish|done|success")
_THOUGHTS: Final = ("reasoning", "reasoning_content", "thinking", "thought", "thoughts", "reasoning_details")
_MOST_DEPTH: Final = 4
_NO_REASONS: Final = frozenset({"", "null", "none", "undefined", "unspecified", "finish_reason_unspecified"})
_MAX_NAME_LENGTH: Final = 200
_WORKING: Final = ChatWorking()


class Completion:
    """Reads events one by one. Names of `headers` are in lower case, or the mapping ignores case."""

    def __init__(self, model: str, headers: Mapping[str, str], failures: Failures) -> None:
        self.generation_id = failures.known_id(headers.get("x-generation-id"))
        """The provider's id of the call, "" until it is known."""
        self._headers = headers
        self._failures = failures
        self._asked_model = model
        self._model = ""
        self._provider_name = ""
        self._created = 0
        self._usage: dict[str, Any] = {}
        self._reason = ""
        self._whole = False
        self._reasonless = self._apart = False
        self._length = 0
        self._refused = False
        self._half = ""
        self._repeats = Repeats()
        failures.answer = self._repeats.parts
        self._begun = self._heard = False

    @property
    def only_cost_missing(self) -> bool:
        """True where the text is complete, and the reason of its end stood apart from it."""
        return self._apart and self.complete

    @property
    def complete(self) -> bool:
        """True where the model said that it has ended, and text came before that and none after it."""
        return self._whole and self._length > 0

    def opened(self, *, streamed: bool) -> list[ChatEvent]:
        """Returns ChatStarted where the headers of a stream hold the id already."""
        return self._begin() if streamed and self.generation_id else []

    def events(self, payloads: Iterable[bytes]) -> Iterator[ChatEvent]:
        """Yields what the payloads hold. Raises ProviderError for an error, and for what is no event."""
        for payload in payloads:
            text = self._fed(payload)
            if not self._begun and (self._heard or self.generation_id):
                yield from self._begin()
            if self._heard:
                yield ChatDelta(text) if text else _WORKING

    def end(self, *, done: bool) -> Iterator[ChatEvent]:
        """Yields text that was held, and the end of the answer; `done` where the server said that there is no more.

        Raises ProviderError where the reason is an error, and for half a character.
        """
        if text := self._repeats.finish():
            yield ChatDelta(text)
        yield self._ended(done=done)

    def _begin(self) -> list[ChatEvent]:
        self._begun = True
        return [ChatStarted(generation_id=self.generation_id, model=self._model or self._asked_model)]

    def _fed(self, payload: bytes) -> str:
        """Returns the new text of an event, "" for none."""
        try:
            event = decoded(payload)
        except ValueError:
            event = payload
        self._heard = False
        if not event:
            # Such as null, which keeps the connection open.
            return ""
        if not isinstance(event, dict):
            raise self._failures.of_body(payload, self._headers, request_id=self.generation_id)
        if is_error(event):
            raise self._reported(event)
        self._identify(event)
        choices = event.get("choices")
        if not choices:
            return ""
        choice = _first(choices)
        if choice is None:
            raise self._unreadable()
        if choice.get("error"):
            raise self._reported(choice["error"])
        text = self._text(choice)
        if text:
            text = self._repeats.feed(text, whole="message" in choice)
            if self._repeats.length > MAX_ANSWER_LENGTH:
                raise self._failures.of(
                    ProviderErrorKind.TRUNCATED, "the answer was too long", request_id=self.generation_id
                )
        self._note_end(_reason(choice.get("finish_reason")), text)
        return text

    def _ended(self, *, done: bool) -> ChatEnded:
        if self._half:
            raise self._unreadable()
        mark = _mark(self._reason) if self._whole else EndMark.UNKNOWN if done else EndMark.NONE
        if mark is None:
            raise self._failures.of(ProviderErrorKind.OVERLOAD, request_id=self.generation_id)
        return ChatEnded(
            generation_id=self.generation_id,
            model=self._model or self._asked_model,
            provider_name=self._provider_name,
            finish_reason=self._reason,
            spending=spending_of(self._usage),
            created=self._created,
            mark=EndMark.FILTERED if self._refused and not self._length else mark,
            usage=self._usage,
        )

    def _note_end(self, reason: str, text: str) -> None:
        """Notes why the model ended. One that text follows, or that comes with every piece of text, says nothing."""
        if not reason:
            if text:
                self._whole, self._reasonless = False, True
            return
        first = self._length == len(text)
        self._whole = first or self._reasonless or (self._whole and not text)
        if text:
            self._reasonless = False
        self._apart = not text
        self._reason = reason

    def _reported(self, error: object) -> ProviderError:
        return self._failures.of_object(error, self._headers, request_id=self.generation_id)

    def _unreadable(self) -> ProviderError:
        return self._failures.of(ProviderErrorKind.TRANSPORT, request_id=self.generation_id)

    def _identify(self, event: dict[str, Any]) -> None:
        if not self._model:
            self.generation_id = self.generation_id or self._failures.known_id(event.get("id"))
            self._model = printable(event.get("model"))
            created = event.get("created")
            self._created = created if isinstance(created, int) and 0 <= created < 2**53 else 0
        if not self._provider_name:
            self._provider_name = printable(event.get("provider"))
        usage = event.get("usage")
        if isinstance(usage, dict):
            self._usage = usage

    def _text(self, choice: Mapping[str, Any]) -> str:
        """Returns the text of a choice, and notes whether there was any, or a thought."""
        said = choice.get("delta") or choice.get("message")
        if not said:
            content, said = choice.get("text"), {}
        elif isinstance(said, dict):
            content = said.get("content")
        else:
            raise self._unreadable()
        text, thought = (content, False) if isinstance(content, str) else self._parts(content)
        self._heard = bool(text) or thought or any(said.get(name) for name in _THOUGHTS)
        if not text:
            self._refused = self._refused or bool(said.get("refusal"))
            return ""
        if self._half or not text.isascii():
            text = self._joined(text)
        self._length += len(text)
        return text

    def _parts(self, content: object, depth: int = 0) -> tuple[str, bool]:
        """Returns the text of a content in parts, and whether there was a thought."""
        if isinstance(content, str) or not content:
            return str(content or ""), False
        if isinstance(content, list) and depth < _MOST_DEPTH:
            parts = [self._parts(part, depth + 1) for part in content]
            return "".join(text for text, _ in parts), any(thought for _, thought in parts)
        if not isinstance(content, dict) or depth >= _MOST_DEPTH:
            raise self._unreadable()
        if "think" in str(content.get("type")) or "reason" in str(content.get("type")):
            return "", True
        return self._parts(content.get("text") or content.get("value"), depth + 1)

    def _joined(self, text: str) -> str:
        """Returns `text` with characters joined whose UTF-16 halves came in two events."""
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        try:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            raise self._unreadable() from None


def _first(choices: object) -> Mapping[str, Any] | None:
    """Returns the first choice by its index, None where there is none."""
    if isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], dict):
        return choices[0]
    found = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    return min(found, key=_index, default=None)


def _index(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _reason(value: object) -> str:
    """Returns a finish reason as a name, "" for none. Servers send texts, objects, lists and the text "null"."""
    if not value or (isinstance(value, str) and value.strip().casefold() in _NO_REASONS):
        return ""
    if isinstance(value, dict):
        value = " ".join(each for pair in value.items() for each in pair if isinstance(each, str))
    elif isinstance(value, list):
        value = " ".join(each for each in value if isinstance(each, str))
    return printable(value) or "unknown"


def _mark(reason: str) -> EndMark | None:
    """Returns how a reason says that an answer ended, None for an error."""
    name = reason.casefold()
    if _FILTERED.search(name):
        return EndMark.FILTERED
    if _OUT_OF_TOKENS.search(name):
        return EndMark.OUT_OF_TOKENS
    if _BROKEN.search(name):
        return None
    if _ABORTED.search(name):
        return EndMark.NONE
    return EndMark.PROPER if _PROPER.search(name) else EndMark.UNKNOWN


def printable(value: object) -> str:
    """Returns `value` if it is a name that may be logged, else ""."""
    return value if isinstance(value, str) and len(value) <= _MAX_NAME_LENGTH and value.isprintable() else ""


_MAX_TOKENS: Final = 2**31 - 1


def spending_of(usage: Mapping[str, Any]) -> Spending:
    """Returns the `usage` of a chat completion; the cost is unknown where it names none.

    With an own key at the company that ran the model, OpenRouter's `cost` is its fee alone, and that company's price is
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
