"""Lists of models."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from story_service.chat import UpstreamModel
from story_service.providers.chat.completion import printable

MAX_MODELS: Final = 10_000
"""Most models that are taken from a list."""


_NO_WRITER: Final = re.compile(
    r"embed|rerank|whisper|transcri|moderation|dall-?e|realtime|kokoro|(?:^|[/_-])(?:tts|stt|asr|ocr|bge|gte|e5|clip|sora)"
    r"(?:[-_.:0-9]|$)|(?:^|[-_/])image(?:[-_]|$)|all-minilm|stable-diffusion|(?:^|/)flux|(?:davinci|babbage)-002",
    re.IGNORECASE,
)
"""In ids of models that write no text. OpenAI and Ollama list all of theirs, and say of none what it does."""
_NO_TEXT: Final = re.compile(r"embed|rank|image|audio|speech|transcri|moderation|video|tts|stt", re.IGNORECASE)
"""In what a server says of a model under `type` or `task` (LM Studio, Together, speaches) that writes no text."""


def upstream_models(body: Mapping[str, Any]) -> tuple[UpstreamModel, ...]:
    """Returns the models of a list, in order, without unreadable entries. Raises ValueError for no list.

    It is under `data`, or under `models` as of some servers.
    """
    entries = body.get("data", body.get("models"))
    if not isinstance(entries, list):
        raise ValueError("no list of models")  # noqa: TRY004 - the value of an upstream
    return tuple(model for entry in entries[:MAX_MODELS] if (model := _model(entry)) is not None)


def _model(entry: object) -> UpstreamModel | None:
    if not isinstance(entry, dict):
        return None
    identifier = printable(entry.get("id")) or printable(entry.get("name"))
    if not identifier:
        return None
    pricing, top = entry.get("pricing"), entry.get("top_provider")
    pricing = pricing if isinstance(pricing, dict) else {}
    top = top if isinstance(top, dict) else {}
    return UpstreamModel(
        id=identifier,
        name=printable(entry.get("name")) or identifier,
        writes=_writes(entry, identifier),
        prompt_usd_per_million_tokens=_per_million(pricing.get("prompt")),
        completion_usd_per_million_tokens=_per_million(pricing.get("completion")),
        context_length=_count(entry.get("context_length") or entry.get("max_model_len")),
        max_completion_tokens=_count(top.get("max_completion_tokens")),
    )


def _writes(entry: Mapping[str, Any], identifier: str) -> bool:
    """Returns whether the model writes text, by what the server says of it, or else by its id."""
    said = entry.get("type") or entry.get("task")
    if isinstance(said, str) and _NO_TEXT.search(said):
        return said.endswith("-to-text") and "image" in said
    architecture = entry.get("architecture")
    modalities = architecture.get("output_modalities") if isinstance(architecture, Mapping) else None
    if isinstance(modalities, list):
        return "text" in modalities
    return _NO_WRITER.search(identifier) is None


def _per_million(price: object) -> float | None:
    """Returns US dollars per million tokens from those per token; None for "-1", which means that it varies."""
    try:
        value = Decimal(str(price)) * 1_000_000
    except InvalidOperation:
        return None
    return float(value) if value.is_finite() and 0 <= value < 1_000_000 else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None
