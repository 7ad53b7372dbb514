"""A request as OpenRouter wants it."""

from collections.abc import Mapping
from typing import Any

from story_service.chat import ChatRequest
from story_service.openrouter.options import ProviderRouting


def request_body(request: ChatRequest, routing: ProviderRouting) -> dict[str, Any]:
    """The body of `POST /chat/completions`, streamed, with the cost told at the end."""
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
    prices = _given({"prompt": routing.max_prompt_price, "completion": routing.max_completion_price})
    return {
        "data_collection": routing.data_collection,
        **_given(
            {
                "order": list(routing.order) or None,
                "only": list(routing.only) or None,
                "max_price": prices or None,
                "zdr": routing.zdr,
            }
        ),
    }


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
