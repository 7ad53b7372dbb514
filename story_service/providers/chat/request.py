"""The body of a call."""

from collections.abc import Mapping
from typing import Any

from story_service.chat import ChatRequest


def request_body(request: ChatRequest, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the body of `POST /chat/completions`, streamed, with the usage at the end and the server's own fields."""
    chosen = {"temperature": request.temperature, "max_tokens": request.max_tokens, "seed": request.seed}
    return {
        "model": request.model,
        "messages": _messages(request),
        "stream": True,
        "stream_options": {"include_usage": True},
        **fields,
        **{name: value for name, value in chosen.items() if value is not None},
    }


def _messages(request: ChatRequest) -> list[dict[str, str]]:
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    if request.prefill:
        # Models that take a prefill refuse one that ends with white space.
        messages[-1]["content"] = messages[-1]["content"].rstrip()
    return messages
