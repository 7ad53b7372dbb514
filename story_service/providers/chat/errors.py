"""Failures of chat servers as errors of servicekit.

Statuses and names of errors: platform.openai.com/docs, Error codes, and those of servers with the same API.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from servicekit.resilience.errors import OF_THE_PACE, ProviderError, ProviderErrorKind, wait_asked
from story_service.providers.chat.dialect import Dialect

_MESSAGES: Final[Mapping[ProviderErrorKind, str]] = {
    ProviderErrorKind.INVALID_INPUT: "the request was refused as it is",
    ProviderErrorKind.UNSUPPORTED: "the server has no such model",
    ProviderErrorKind.AUTH: "the key was refused; see {key}",
    ProviderErrorKind.CONFIGURATION: "the address answers, but not with OpenAI's API; see {url}",
    ProviderErrorKind.QUOTA: "the quota is used up",
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
_MAYBE_IN_FLIGHT: Final = frozenset({ProviderErrorKind.QUOTA, ProviderErrorKind.RATE})
_CONCURRENT: Final = re.compile(r"\bconcurren(?:t|cy)\b|\bin[- ]flight\b|\bsimultaneous", re.IGNORECASE)
_MOST_READ: Final = 2_000
_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Failures:
    """Makes the errors of one server. Names of `headers` are in lower case, or the mapping ignores case."""

    def __init__(self, dialect: Dialect) -> None:
        self.provider: Final = dialect.provider
        self._dialect = dialect
        self._messages = {
            kind: words.format(key=dialect.key_variable, url=dialect.url_variable)
            for kind, words in {**_MESSAGES, **dialect.words}.items()
        }

    def of(
        self, kind: ProviderErrorKind, message: str = "", *, status: int = 0, request_id: str = "", billed: bool = True
    ) -> ProviderError:
        """Returns an error found here; `message` where that of the kind says too little."""
        return ProviderError(
            kind,
            message or self._messages[kind],
            provider=self.provider,
            status=status,
            request_id=safe_id(request_id),
            billed=billed,
        )

    def of_status(
        self, status: int, headers: Mapping[str, str], body: object, *, request_id: str = ""
    ) -> ProviderError:
        """Returns the error behind an HTTP status. `body` is the decoded answer, None where it was no JSON."""
        error = body.get("error", body) if isinstance(body, Mapping) else None
        details = error if isinstance(error, Mapping) else {}
        return self._read(status, headers, details, request_id or headers.get("x-request-id", ""))

    def of_object(self, error: object, headers: Mapping[str, str], *, request_id: str = "") -> ProviderError:
        """Returns the error behind an error object that came with a good status, or within an answer."""
        details = error if isinstance(error, Mapping) else {}
        return self._read(_code_status(details.get("code")), headers, details, request_id)

    def _read(
        self, status: int, headers: Mapping[str, str], error: Mapping[str, Any], request_id: str
    ) -> ProviderError:
        kind = self._dialect.read_error(status, error) or _kind(status, error)
        if kind is ProviderErrorKind.QUOTA and "retry-after" in headers:
            kind = ProviderErrorKind.RATE
        if kind in _MAYBE_IN_FLIGHT and counts_calls_in_flight(error):
            kind = ProviderErrorKind.CONCURRENCY
        return ProviderError(
            kind,
            self._messages[kind],
            provider=self.provider,
            retry_after=_wait(kind, headers, metadata_of(error)),
            status=status,
            request_id=safe_id(request_id),
        )


def safe_id(value: object) -> str:
    """Returns `value` if it is an id that may be logged, else ""."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""


def metadata_of(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns what a proxy adds to an error of the server behind it, such as its `headers`; empty without any."""
    metadata = error.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _kind(status: int, error: Mapping[str, Any]) -> ProviderErrorKind:
    named = next(
        (
            _NAMES[name]
            for name in (metadata_of(error).get("error_type"), error.get("code"), error.get("type"))
            if isinstance(name, str) and name in _NAMES
        ),
        None,
    )
    if named in _EXACT:
        return named
    if status in _STATUSES:
        return _STATUSES[status]
    if status >= 500 or not status:
        return named or ProviderErrorKind.OVERLOAD
    return ProviderErrorKind.INVALID_INPUT if status >= 400 else ProviderErrorKind.TRANSPORT


def counts_calls_in_flight(error: Mapping[str, Any]) -> bool:
    """Returns whether fewer concurrent calls would have helped; `raw` is the error of the server behind a proxy."""
    said = (error.get("message"), metadata_of(error).get("raw"))
    return any(_CONCURRENT.search(each[:_MOST_READ]) for each in said if isinstance(each, str))


def _code_status(code: object) -> int:
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code[:4])
    return code if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599 else 0


def _wait(kind: ProviderErrorKind, headers: Mapping[str, str], metadata: Mapping[str, Any]) -> float | None:
    """Returns the seconds to wait. A proxy may pass on the headers of the server behind it in the metadata.

    X-RateLimit-Reset is in every answer, so it is a wait only where a rate was too high.
    """
    inner = metadata.get("headers")
    now = datetime.now(UTC)
    for source in (headers, inner if isinstance(inner, Mapping) else {}):
        said = {
            name.lower(): value for name, value in source.items() if isinstance(name, str) and isinstance(value, str)
        }
        wait = wait_asked(said, now, rate_limited=kind in OF_THE_PACE)
        if wait is not None:
            return wait
    return None
