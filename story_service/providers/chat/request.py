"""The body of a call, without what a model refused before."""

from typing import Any, Final

from cachetools import LRUCache

from servicekit.resilience.errors import ProviderErrorKind
from story_service.chat import ChatRequest, ChatTimers
from story_service.providers.chat.dialect import Dialect
from story_service.providers.chat.errors import ServerError

_MOST_MODELS: Final = 1_024
_MOST_REPEATS: Final = 2
_CHOSEN: Final = frozenset(
    {"temperature", "seed", "max_tokens", "max_completion_tokens", "stream_options", "response_format"}
)
_WAYS: Final = frozenset({"system", "prefill", "stream"})
_BAD_REQUEST: Final = frozenset({400, 422})
_CONTINUE: Final = "Continue exactly where this ends."


class Refusals:
    """What the models of a server refuse, for as long as the process lives; of at most 1,024 models."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._known: LRUCache[str, frozenset[str]] = LRUCache(_MOST_MODELS)

    def plan(self, request: ChatRequest) -> "Plan":
        """Returns how to ask for `request`."""
        return Plan(request, self._dialect, self._known.get(request.model, frozenset()))

    def accepted(self, plan: "Plan") -> None:
        """Remembers how the model was asked when it answered."""
        if plan.adapted:
            self._known[plan.request.model] = plan.refused


class Plan:
    """How one request is asked: first as it is, then without what was refused, then without all that is optional."""

    def __init__(self, request: ChatRequest, dialect: Dialect, refused: frozenset[str]) -> None:
        self.request = request
        self.refused = refused
        self._fields = dialect.fields
        self._optional = _CHOSEN | (frozenset(dialect.fields) - dialect.needed)
        self._repeats = 0

    @property
    def adapted(self) -> bool:
        """True where this call found out that something is refused."""
        return self._repeats > 0

    def adapt(self, error: ServerError) -> bool:
        """Leaves out what `error` refuses; returns False where asking again would change nothing."""
        without = self._sent & error.refused
        if not without and error.status in _BAD_REQUEST and error.kind is ProviderErrorKind.INVALID_INPUT:
            # Many servers say no more than that something is wrong.
            without = self._sent & {"response_format"}
        if self._repeats and error.status in _BAD_REQUEST:
            without |= self._sent - {"stream"} | {"max_completion_tokens"}
        if not without or self._repeats >= _MOST_REPEATS:
            return False
        self._repeats += 1
        self.refused |= without
        return True

    def first_token(self, timers: ChatTimers) -> float:
        """Returns the seconds until the first text: a body that is not streamed comes whole, at its end."""
        return timers.total if "stream" in self.refused else timers.first_token

    @property
    def body(self) -> dict[str, Any]:
        """The body of `POST /chat/completions`, with the usage at its end and the server's own fields."""
        request, refused = self.request, self.refused
        chosen = {
            "stream_options": {"include_usage": True} if "stream" not in refused else None,
            "temperature": request.temperature,
            "max_completion_tokens" if "max_tokens" in refused else "max_tokens": request.max_tokens,
            "seed": request.seed,
            "response_format": None
            if request.schema is None
            else {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": request.schema}},
        }
        fields = {name: value for name, value in chosen.items() if value is not None} | dict(self._fields)
        return {
            "model": request.model,
            "messages": self._messages(),
            "stream": "stream" not in refused,
            **{name: value for name, value in fields.items() if name not in refused},
        }

    @property
    def _sent(self) -> frozenset[str]:
        """What the request holds and can do without."""
        request = self.request
        ways = {"system"} if any(message.role == "system" for message in request.messages) else set[str]()
        if request.prefill:
            ways.add("prefill")
        return (self._optional & set(self.body) | ways | {"stream"}) - self.refused

    def _messages(self) -> list[dict[str, str]]:
        messages = [{"role": message.role, "content": message.content} for message in self.request.messages]
        if self.request.prefill:
            # Models that take a prefill refuse one that ends with white space.
            messages[-1]["content"] = messages[-1]["content"].rstrip()
            if "prefill" in self.refused:
                messages.append({"role": "user", "content": _CONTINUE})
        if "system" in self.refused:
            messages = _merged(messages)
        return messages


def _merged(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Returns `messages` with the system's text at the beginning of the first of the user."""
    told = [message["content"] for message in messages if message["role"] == "system"]
    rest = [message for message in messages if message["role"] != "system"]
    if not rest or rest[0]["role"] != "user":
        rest.insert(0, {"role": "user", "content": ""})
    rest[0]["content"] = "\n\n".join(each for each in (*told, rest[0]["content"]) if each)
    return rest
