"""OpenRouter's failures as errors of servicekit. Its own words are read, and never passed on.

Statuses and error objects: openrouter.ai/docs, Errors and Debugging. Models behind it add OpenAI's own codes.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind, wait_asked

PROVIDER: Final = "openrouter"

_MESSAGES: Final[Mapping[ProviderErrorKind, str]] = {
    ProviderErrorKind.INVALID_INPUT: "the request was refused as it is",
    ProviderErrorKind.UNSUPPORTED: "no such model, or no company that may run it",
    ProviderErrorKind.AUTH: "the key was refused; see OPENROUTER_API_KEY",
    ProviderErrorKind.QUOTA: "the credits are used up",
    ProviderErrorKind.CONCURRENCY: "too many concurrent calls",
    ProviderErrorKind.RATE: "too many calls per minute",
    ProviderErrorKind.OVERLOAD: "the model is overloaded or unavailable",
    ProviderErrorKind.TIMEOUT: "the model took too long",
    ProviderErrorKind.TRANSPORT: "the connection broke, or the answer was not readable",
    ProviderErrorKind.TRUNCATED: "the answer was incomplete",
    ProviderErrorKind.CONTENT_POLICY: "a content filter refused it",
    ProviderErrorKind.CANCELLED: "the call was cancelled",
}

_STATUSES: Final[Mapping[int, ProviderErrorKind]] = {
    401: ProviderErrorKind.AUTH,
    402: ProviderErrorKind.QUOTA,
    403: ProviderErrorKind.AUTH,
    404: ProviderErrorKind.UNSUPPORTED,
    408: ProviderErrorKind.TIMEOUT,
    425: ProviderErrorKind.OVERLOAD,
    429: ProviderErrorKind.RATE,
    504: ProviderErrorKind.TIMEOUT,
}

_NAMES: Final[Mapping[str, ProviderErrorKind]] = {
    "authentication": ProviderErrorKind.AUTH,
    "authentication_error": ProviderErrorKind.AUTH,
    "content_filter": ProviderErrorKind.CONTENT_POLICY,
    "content_policy_violation": ProviderErrorKind.CONTENT_POLICY,
    "context_length_exceeded": ProviderErrorKind.INVALID_INPUT,
    "insufficient_credits": ProviderErrorKind.QUOTA,
    "insufficient_quota": ProviderErrorKind.QUOTA,
    "invalid_api_key": ProviderErrorKind.AUTH,
    "invalid_prompt": ProviderErrorKind.INVALID_INPUT,
    "invalid_request": ProviderErrorKind.INVALID_INPUT,
    "invalid_request_error": ProviderErrorKind.INVALID_INPUT,
    "model_not_found": ProviderErrorKind.UNSUPPORTED,
    "moderation": ProviderErrorKind.CONTENT_POLICY,
    "overloaded_error": ProviderErrorKind.OVERLOAD,
    "provider_overloaded": ProviderErrorKind.OVERLOAD,
    "provider_unavailable": ProviderErrorKind.OVERLOAD,
    "rate_limit_error": ProviderErrorKind.RATE,
    "rate_limit_exceeded": ProviderErrorKind.RATE,
    "server_error": ProviderErrorKind.OVERLOAD,
    "timeout": ProviderErrorKind.TIMEOUT,
}
# These are more exact than the status that they come with.
_EXACT: Final = frozenset({ProviderErrorKind.CONTENT_POLICY, ProviderErrorKind.QUOTA, ProviderErrorKind.UNSUPPORTED})
_IN_FLIGHT: Final = "openrouter_in_flight_budget"
_MAYBE_IN_FLIGHT: Final = frozenset({ProviderErrorKind.QUOTA, ProviderErrorKind.RATE})
_CONCURRENT: Final = re.compile(r"\bconcurren(?:t|cy)\b|\bin[- ]flight\b|\bsimultaneous", re.IGNORECASE)
_MOST_READ: Final = 2_000
_UNKNOWN_MODEL: Final = re.compile(r"not a valid model|no endpoints found", re.IGNORECASE)
_MODERATED: Final = ("reasons", "flagged_input", "patterns")
_OF_THE_PACE: Final = frozenset({ProviderErrorKind.RATE, ProviderErrorKind.CONCURRENCY})
_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def failure(kind: ProviderErrorKind, message: str = "", *, status: int = 0, request_id: str = "") -> ProviderError:
    """Returns an error found here; `message` where that of the kind says too little."""
    return ProviderError(
        kind, message or _MESSAGES[kind], provider=PROVIDER, status=status, request_id=safe_id(request_id)
    )


def status_failure(status: int, headers: Mapping[str, str], body: object, *, request_id: str = "") -> ProviderError:
    """Returns the error behind an HTTP status. `body` is the decoded answer, None where it was no JSON.

    Names of `headers` are in lower case, or the mapping ignores case; so in all functions here.
    """
    error = body.get("error", body) if isinstance(body, Mapping) else None
    details = error if isinstance(error, Mapping) else {}
    return _failure(status, headers, details, request_id or headers.get("x-request-id", ""))


def object_failure(error: object, headers: Mapping[str, str], *, request_id: str = "") -> ProviderError:
    """Returns the error behind an error object that came with a good status, or within an answer."""
    details = error if isinstance(error, Mapping) else {}
    return _failure(_code_status(details.get("code")), headers, details, request_id)


def safe_id(value: object) -> str:
    """Returns `value` if it is an id that may be logged, else ""."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""


def _failure(status: int, headers: Mapping[str, str], error: Mapping[str, Any], request_id: str) -> ProviderError:
    metadata = error.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    kind = _kind(status, error, metadata)
    if kind is ProviderErrorKind.QUOTA and "retry-after" in headers:
        kind = ProviderErrorKind.RATE
    if kind in _MAYBE_IN_FLIGHT and _counts_calls_in_flight(error, metadata):
        kind = ProviderErrorKind.CONCURRENCY
    return ProviderError(
        kind,
        _MESSAGES[kind],
        provider=PROVIDER,
        retry_after=_wait(kind, headers, metadata),
        status=status,
        request_id=safe_id(request_id),
    )


def _kind(status: int, error: Mapping[str, Any], metadata: Mapping[str, Any]) -> ProviderErrorKind:
    named = next(
        (
            _NAMES[name]
            for name in (metadata.get("error_type"), error.get("code"), error.get("type"))
            if isinstance(name, str) and name in _NAMES
        ),
        None,
    )
    if named in _EXACT:
        return named
    if status == 403 and any(metadata.get(sign) for sign in _MODERATED):
        return ProviderErrorKind.CONTENT_POLICY
    message = error.get("message")
    if status == 400 and isinstance(message, str) and _UNKNOWN_MODEL.search(message):
        return ProviderErrorKind.UNSUPPORTED
    if status in _STATUSES:
        return _STATUSES[status]
    if status >= 500 or not status:
        return named or ProviderErrorKind.OVERLOAD
    return ProviderErrorKind.INVALID_INPUT if status >= 400 else ProviderErrorKind.TRANSPORT


def _counts_calls_in_flight(error: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Returns whether fewer concurrent calls would have helped; `raw` is the error of the model's own API."""
    said = (error.get("message"), metadata.get("raw"))
    return metadata.get("limit_source") == _IN_FLIGHT or any(
        _CONCURRENT.search(each[:_MOST_READ]) for each in said if isinstance(each, str)
    )


def _code_status(code: object) -> int:
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code[:4])
    return code if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599 else 0


def _wait(kind: ProviderErrorKind, headers: Mapping[str, str], metadata: Mapping[str, Any]) -> float | None:
    """Returns the seconds to wait. OpenRouter passes on the headers of the model's own API in the metadata.

    X-RateLimit-Reset is in every answer, so it is a wait only where a rate was too high.
    """
    inner = metadata.get("headers")
    now = datetime.now(UTC)
    for source in (headers, inner if isinstance(inner, Mapping) else {}):
        said = {
            name.lower(): value for name, value in source.items() if isinstance(name, str) and isinstance(value, str)
        }
        wait = wait_asked(said, now, rate_limited=kind in _OF_THE_PACE)
        if wait is not None:
            return wait
    return None
