"""Options of OpenRouter, and the checks of its key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from story_service.chat import ChatRequest

OPENROUTER_URL: Final = "https://openrouter.ai/api/v1"

_OPENROUTER_HOST: Final = "openrouter.ai"
_KEY_PREFIX: Final = "sk-or-"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,1024}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRouting:
    """Which companies may run a model: OpenRouter's `provider` object (openrouter.ai/docs, Provider Routing).

    `data_collection` "deny" excludes companies that store what is written about a child or train on it. `order` are
    tried first, `only` at all; `zdr` True requires zero data retention. None and empty leave it to OpenRouter.
    """

    data_collection: Literal["deny", "allow"] = "deny"
    order: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    zdr: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRouterOptions:
    """Where OpenRouter is, and how it is called. `max_connections` bounds the concurrent calls of this process."""

    base_url: str = OPENROUTER_URL
    routing: ProviderRouting = field(default_factory=ProviderRouting)
    max_connections: int = 1024


def check_key_format(key: str, *, base_url: str = OPENROUTER_URL) -> str:
    """Returns `key` if it can be one. Raises ValueError with the remedy, and without the key, else.

    A key is printable ASCII without blanks; one for OpenRouter's own host begins with "sk-or-".
    """
    if not key:
        raise ValueError("must not be empty")
    if _KEY.fullmatch(key) is None:
        raise ValueError("must be one word of printable ASCII: no blanks, line breaks or other characters")
    host = urlsplit(base_url).hostname or ""
    ours = host == _OPENROUTER_HOST or host.endswith(f".{_OPENROUTER_HOST}")
    if ours and (not key.startswith(_KEY_PREFIX) or key == _KEY_PREFIX):
        raise ValueError(f'must begin with "{_KEY_PREFIX}": keys are made at https://openrouter.ai/keys')
    return key


def request_body(request: ChatRequest, routing: ProviderRouting) -> dict[str, Any]:
    """Returns the body of `POST /chat/completions`, streamed, with the cost at the end."""
    return {
        "model": request.model,
        "messages": _messages(request),
        "stream": True,
        "stream_options": {"include_usage": True},
        "usage": {"include": True},
        "provider": _provider(routing),
        **_given({"temperature": request.temperature, "max_tokens": request.max_tokens, "seed": request.seed}),
    }


def _messages(request: ChatRequest) -> list[dict[str, str]]:
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    if request.prefill:
        # Models that take a prefill refuse one that ends with white space.
        messages[-1]["content"] = messages[-1]["content"].rstrip()
    return messages


def _provider(routing: ProviderRouting) -> dict[str, Any]:
    return {
        "data_collection": routing.data_collection,
        **_given(
            {
                "order": list(routing.order) or None,
                "only": list(routing.only) or None,
                "zdr": routing.zdr,
            }
        ),
    }


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
