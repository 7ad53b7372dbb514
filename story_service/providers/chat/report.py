"""What an error says, in whatever form a server gives it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_CODES: Final = ("code", "type", "error_type", "status", "status_code", "statusCode", "error_code")
_TEXTS: Final = (
    "message",
    "msg",
    "detail",
    "details",
    "error",
    "errors",
    "error_description",
    "title",
    "metadata",
    "raw",
)
_WAITS: Final = ("estimated_time", "retry_after", "retry_after_seconds")
_SIGNS: Final = (
    *("error", "errors", "detail", "error_description", "message", "msg", "title"),
    *("code", "status_code", "statusCode", "error_code"),
)
_MOST_DEPTH: Final = 5
_MOST_ENTRIES: Final = 8
_MOST_READ: Final = 2_000


def _refuse(constant: str) -> float:
    raise ValueError(constant)


_JSON: Final = json.JSONDecoder(parse_constant=_refuse)


def decoded(payload: bytes) -> Any:
    """Returns the JSON value of `payload`. Raises ValueError for what is no JSON."""
    try:
        return _JSON.decode(payload.decode())
    except RecursionError:
        raise ValueError("too deep") from None


def is_error(event: Mapping[str, Any]) -> bool:
    """Returns whether an event, or a body, is an error: it says so, or it has words and nothing of a completion."""
    if event.get("choices"):
        return bool(event.get("error"))
    return any(event.get(sign) for sign in _SIGNS) or "error" in [
        event.get(name) for name in ("object", "type", "status")
    ]


_COMPLAINT: Final = re.compile(
    r"support|recogni|unknown|unexpected|extra|permit|allow|additional|invalid|cannot|forbidden|deprecat|disabled|"
    r"unavailable|"
    r"should|must|instead|too (?:large|high)|at most|exceed|less than",
    re.IGNORECASE,
)
_FIELD: Final = re.compile(
    r"(?<![\w.])(temperature|seed|max_tokens|max_completion_tokens|stream_options|include_usage|stream|response_format)\b(?!_)|"
    r"[\"'`](\w+)[\"'`]|(?:parameter|field|argument|property|input)s?:? (\w+)",
    re.IGNORECASE,
)
_OTHER_NAMES: Final = (
    ("include_usage", "stream_options"),
    ("role", "system"),
    ("developer", "system"),
)
_INSTEAD: Final = re.compile(r"\b(?:use|try)\b\W{0,3}max_completion_tokens", re.IGNORECASE)
_STREAMING: Final = re.compile(
    r"\bstreaming\b.{0,60}(?:support|allow|disabled|available|implement)|support stream", re.IGNORECASE
)
_ROLES: Final = re.compile(
    r"\b(?:system|developer)\b.{0,40}\b(?:role|message|prompt|instruction)|\brole\b.{0,40}\b(?:system|developer)\b|"
    r"roles? must alternate|only user and assistant roles",
    re.IGNORECASE,
)
_SCHEMA: Final = re.compile(r"response.?format|json.?schema|structured.?output", re.IGNORECASE)
_PREFILL: Final = re.compile(
    r"prefill|(?:last|final) message.{0,60}(?:user|assistant)|assistant message.{0,60}(?:last|final|end)", re.IGNORECASE
)


@dataclass(slots=True)
class Report:
    """An error: its `status` (0 for none), names of codes and types, words, and the fields that it names.

    `metadata` and `headers` are what a proxy adds of the server behind it; `waits` are in seconds, by name.
    """

    status: int = 0
    names: list[str] = field(default_factory=list)
    text: str = ""
    fields: set[str] = field(default_factory=set)
    metadata: dict[str, Any] = field(default_factory=dict)
    waits: dict[str, float] = field(default_factory=dict)

    @property
    def refused(self) -> frozenset[str]:
        """The fields of the request that it refuses, and the ways of asking: "system", "prefill", "stream"."""
        names = set(self.fields)
        if _COMPLAINT.search(self.text) is not None:
            names.update(name.lower() for found in _FIELD.findall(self.text) for name in found if name)
        if "max_tokens" in names and _INSTEAD.search(self.text) is not None:
            names.discard("max_completion_tokens")
        for name, other in _OTHER_NAMES:
            if name in names:
                names.add(other)
        patterns = (("stream", _STREAMING), ("system", _ROLES), ("prefill", _PREFILL), ("response_format", _SCHEMA))
        for name, pattern in patterns:
            if pattern.search(self.text) is not None:
                names.add(name)
        return frozenset(names)

    def read(self, value: object, depth: int = 0) -> None:
        """Reads an error object, a list of them, or words. What repeats a request (`input`) is left out."""
        if depth > _MOST_DEPTH:
            return
        if isinstance(value, str):
            self._read_text(value, depth)
        elif isinstance(value, list):
            for each in value[:_MOST_ENTRIES]:
                self.read(each, depth + 1)
        elif isinstance(value, Mapping):
            self._read_object(value, depth)

    def _read_text(self, text: str, depth: int) -> None:
        if text.lstrip()[:1] in {"{", "["}:
            try:
                return self.read(decoded(text.encode("utf-8", "replace")), depth + 1)
            except ValueError:
                pass
        if text not in self.text:
            self.text = f"{self.text} {text}".strip()[:_MOST_READ]
        return None

    def _read_object(self, error: Mapping[str, Any], depth: int) -> None:
        for name in _CODES:
            self._read_code(error.get(name))
        for name in _WAITS:
            wait = error.get(name)
            if isinstance(wait, int | float) and not isinstance(wait, bool):
                self.waits.setdefault(name, float(wait))
        param, location, metadata = error.get("param"), error.get("loc"), error.get("metadata")
        if isinstance(param, str):
            self.fields.update(re.findall(r"\w+", param))
        if isinstance(location, list):
            self.fields.update(each for each in location if isinstance(each, str))
        if isinstance(metadata, Mapping):
            self.metadata.update(metadata)
        for name in _TEXTS:
            self.read(error.get(name), depth + 1)

    def _read_code(self, code: object) -> None:
        if isinstance(code, str) and code.isascii() and code.isdigit():
            code = int(code[:4])
        if isinstance(code, str):
            self.names.append(code.casefold())
        elif isinstance(code, int) and not self.status and 400 <= code <= 599:
            self.status = code
