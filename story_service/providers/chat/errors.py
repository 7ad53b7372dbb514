"""Failures of chat servers as errors of servicekit.

Statuses and names of errors: platform.openai.com/docs, Error codes, and those of servers with the same API. What a
server says in words decides where they say too little.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib.resources import files
from typing import Any, Final, NamedTuple

from servicekit.resilience.errors import OF_THE_PACE, ProviderError, ProviderErrorKind, wait_asked
from servicekit.resilience.said import Cleaner
from story_service.chat import ChatRequest
from story_service.providers.chat.dialect import Dialect
from story_service.providers.chat.report import Report, decoded

_K: Final = ProviderErrorKind

_SIGNS: Final[dict[str, Any]] = tomllib.loads(files(__package__).joinpath("signs.toml").read_text("utf-8"))
_MESSAGES: Final = {_K(kind): message for kind, message in _SIGNS["messages"].items()}
_TOO_LONG: Final = "the prompt and the answer do not fit the model's context"
_STILL_LOADING: Final = "the server still loads the model, after {:.0f} minutes; see {{url}}"
_CAPPED: Final = "the calls that are allowed in a time are used up"
_NO_PROXY: Final = "no connection through the proxy; see HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
_UNTRUSTED: Final = "the certificate of the server is not trusted; see SSL_CERT_FILE and {url}"
_NO_TLS: Final = "the server does not speak https; see {url}={address}"
_UNREACHABLE: Final = "no connection to the server. Is it running? {url}={address}"

_STATUSES: Final = {status: _K(kind) for kind, statuses in _SIGNS["statuses"].items() for status in statuses}
_NAMES: Final = {name: _K(kind) for kind, names in _SIGNS["names"].items() for name in names}
# These are more exact than the status that they come with.
_EXACT: Final = frozenset({_K.CONTENT_POLICY, _K.QUOTA, _K.UNSUPPORTED})


class _Words(NamedTuple):
    """What a message says of its error. The statuses are those that say less; 0 is none."""

    kind: ProviderErrorKind
    said: re.Pattern[str]
    statuses: frozenset[int]


_WORDS: Final = tuple(
    _Words(
        _K(words["kind"]),
        re.compile(words["said"].replace("\n", ""), re.IGNORECASE),
        frozenset({0, *words["statuses"]}),
    )
    for words in _SIGNS["words"]
)
_MAYBE_IN_FLIGHT: Final = frozenset({_K.QUOTA, _K.RATE})
_CONCURRENT: Final = re.compile(r"\bconcurren(?:t|cy)\b|\bin[- ]flight\b|\bsimultaneous", re.IGNORECASE)
_BY_DAY: Final = re.compile(r"\b(?:per|a|each)[ -]day\b|\bdaily\b|\brpd\b|\btpd\b", re.IGNORECASE)
_BY_MONTH: Final = re.compile(r"\b(?:per|a|each)[ -]month\b|\bmonthly\b", re.IGNORECASE)
_AGAIN_IN: Final = re.compile(
    r"(?:try again|retry|wait)\w* (?:in|after|for) (?=\d)(?:(\d{1,3}) ?h(?:(?:ou)?rs?)? ?)?"
    r"(?:(\d{1,4}) ?m(?:in\w*)?(?![a-z]) ?)?(?:(\d{1,6}(?:\.\d{1,9})?) ?s)?",
    re.IGNORECASE,
)
_LONG_WAIT: Final = 7_200.0
"""Seconds from which on a wait is for a quota of a day or longer, whatever the server calls it."""
_SHORT_WAIT: Final = 600.0
"""Seconds below which a wait is one for the pace, also where the limit counts by the day."""
_LOADING: Final = re.compile(
    r"\bload(?:s|ing)(?: the| a)? model|model\b.{0,100}\b(?:loading|starting|warming|being loaded|not (?:yet )?ready)|"
    r"warming up|cold start|loading weights",
    re.IGNORECASE,
)
_LOADED_BADLY: Final = re.compile(r"(?:fail|error|unable|could ?n.t|could not|cannot)\w*\W.{0,30}load", re.IGNORECASE)
_LOADS: Final = frozenset({0, 400, 404, 409, 425, 429, 500, 502, 503, 504})
_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_REFUSING: Final = frozenset({0, 400, 422, 500, 501})
_UNBILLED: Final = frozenset(
    {_K.INVALID_INPUT, _K.UNSUPPORTED, _K.AUTH, _K.CONFIGURATION, _K.QUOTA, _K.CONCURRENCY, _K.RATE}
)


class ServerError(ProviderError):
    """An error that the server itself reported.

    `refused` are the fields of the request that it refuses ("system", "prefill" and "stream" for how it is asked);
    with `loading` it says that it loads the model.
    """

    refused: frozenset[str] = frozenset()
    loading: bool = False


class Failures:
    """Makes the errors of one server. Names of `headers` are in lower case, or the mapping ignores case."""

    def __init__(self, dialect: Dialect, request: ChatRequest | None = None) -> None:
        """`request` is the one that fails: nothing that stands in its messages is passed on."""
        self._dialect = dialect
        self._request = request
        self.answer: Sequence[str] = ()
        """The pieces of text that came, of which nothing is passed on either."""

    @property
    def provider(self) -> str:
        """Name of the provider."""
        return self._dialect.provider

    def of(
        self, kind: ProviderErrorKind, message: str = "", *, request_id: str = "", billed: bool = True
    ) -> ProviderError:
        """Returns an error found here; `message` where that of the kind says too little."""
        return ProviderError(
            kind,
            self._worded(message or self._words(kind)),
            provider=self._dialect.provider,
            request_id=self.known_id(request_id),
            billed=billed,
        )

    def known_id(self, value: object) -> str:
        """Returns `value` if it is an id that may be logged, "" also where a word of the request is a part of it."""
        known = safe_id(value)
        parts = {part.casefold() for part in re.split("[._:-]", known) if part.isalpha()}
        return known if parts.isdisjoint(self._request_words) else ""

    @cached_property
    def _request_words(self) -> frozenset[str]:
        messages = self._request.messages if self._request is not None else ()
        return frozenset(re.findall(r"[^\W\d_]{3,}", " ".join(each.content for each in messages).casefold()))

    def unreachable(self, *, by_proxy: bool = False) -> ProviderError:
        """Returns that of a server that cannot be connected to, or not through a proxy."""
        return self.of(_K.TRANSPORT, _NO_PROXY if by_proxy else _UNREACHABLE, billed=False)

    def untrusted(self) -> ProviderError:
        """Returns that of a server with a certificate of an authority that is not known."""
        return self.of(_K.CONFIGURATION, _UNTRUSTED, billed=False)

    def no_tls(self) -> ProviderError:
        """Returns that of a server at which https is no protocol."""
        return self.of(_K.CONFIGURATION, _NO_TLS, billed=False)

    def of_body(
        self,
        body: bytes,
        headers: Mapping[str, str],
        *,
        status: int = 0,
        request_id: str = "",
        whole: bool = False,
    ) -> ServerError:
        """Returns the error behind a body: JSON of any form, plain text, or a page. `status` of a refusal, else 0.

        A `whole` body of words that say nothing known, such as "Ollama is running", is of no chat server.
        """
        text = body.lstrip(b"\xef\xbb\xbf \t\r\n")
        if text.startswith(b"<") and status < 500 and status not in {401, 402, 403, 407, 413, 429}:
            return self._made(Report(status), _K.CONFIGURATION, headers, request_id, billed=False)
        try:
            value = decoded(text)
        except ValueError:
            value = "" if text.startswith((b"<", b"{", b"[")) else text[:4_000].decode("utf-8", "replace")
        otherwise = None if status or isinstance(value, dict) else _K.TRANSPORT
        if otherwise and whole and isinstance(value, str) and value.strip().isprintable() and value:
            otherwise = _K.CONFIGURATION
        return self.of_object(value, headers, status=status, request_id=request_id, otherwise=otherwise)

    def of_object(
        self,
        error: object,
        headers: Mapping[str, str],
        *,
        status: int = 0,
        request_id: str = "",
        otherwise: ProviderErrorKind | None = None,
    ) -> ServerError:
        """Returns the error behind an error object, or behind words; `otherwise` is its kind where nothing is known."""
        report = Report(status)
        report.read(error)
        found = self._dialect.read_error(report)
        kind = found.kind if found is not None else _kind(report, otherwise)
        return self._made(
            report, kind, headers, request_id or headers.get("x-request-id", ""), found.message if found else ""
        )

    def _made(
        self,
        report: Report,
        kind: ProviderErrorKind,
        headers: Mapping[str, str],
        request_id: str,
        message: str = "",
        *,
        billed: bool | None = None,
    ) -> ServerError:
        kind, wait = _paced(kind, report, headers)
        if kind is _K.INVALID_INPUT and "context" in report.text.casefold():
            message = message or _TOO_LONG
        elif report.status == 407:
            message = _NO_PROXY
        elif kind is _K.QUOTA and wait is not None:
            message = message or _CAPPED
        error = ServerError(
            kind,
            self._worded(message or self._words(kind)),
            provider=self._dialect.provider,
            retry_after=wait,
            status=report.status,
            request_id=self.known_id(request_id),
            said=self._cleaned(report.text),
            billed=kind not in _UNBILLED if billed is None else billed,
        )
        loads = _LOADING.search(report.text) is not None or "estimated_time" in report.waits
        error.loading = loads and report.status in _LOADS and _LOADED_BADLY.search(report.text) is None
        if report.status in _REFUSING and kind in {_K.INVALID_INPUT, _K.OVERLOAD, _K.UNSUPPORTED}:
            error.refused = report.refused
        return error

    def note_repeated(self, error: ServerError, *, loading: float = 0.0) -> None:
        """Notes that the call is not made again: the server has been `loading` for so many seconds, or refuses it."""
        error.kind = _K.CONFIGURATION if loading else _K.INVALID_INPUT
        error.message = self._worded(_STILL_LOADING.format(loading / 60) if loading else self._words(error.kind))

    def _words(self, kind: ProviderErrorKind) -> str:
        return self._dialect.words.get(kind) or _MESSAGES[kind]

    def _worded(self, message: str) -> str:
        dialect = self._dialect
        return message.format(key=dialect.key_variable, url=dialect.url_variable, address=dialect.url)

    def _cleaned(self, text: str) -> str:
        if not text:
            return ""
        request = self._request
        messages = [message.content for message in request.messages] if request is not None else []
        texts = [*messages, "".join(self.answer)]
        return Cleaner(texts, model=request.model if request is not None else "").clean(text)


def safe_id(value: object) -> str:
    """Returns `value` if it is an id that may be logged, else ""."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""


def _kind(report: Report, otherwise: ProviderErrorKind | None) -> ProviderErrorKind:
    named = next((_NAMES[name] for name in report.names if name in _NAMES), None)
    if named in _EXACT:
        return named
    status = report.status
    for words in _WORDS:
        if status in words.statuses and words.said.search(report.text) is not None:
            return words.kind
    if status in _STATUSES:
        return _STATUSES[status]
    if status >= 500 or not status:
        return named or otherwise or _K.OVERLOAD
    return _K.INVALID_INPUT if status >= 400 else _K.CONFIGURATION


def _paced(
    kind: ProviderErrorKind, report: Report, headers: Mapping[str, str]
) -> tuple[ProviderErrorKind, float | None]:
    """Returns the kind of an error with the wait that it asks for, in seconds: a cap of the day is no rate."""
    if kind in _MAYBE_IN_FLIGHT and _CONCURRENT.search(report.text) is not None:
        kind = _K.CONCURRENCY
    wait = _wait(kind, headers, report)
    if kind is _K.QUOTA and wait is not None and wait < _LONG_WAIT and "retry-after" in headers:
        return _K.RATE, wait
    if kind not in _MAYBE_IN_FLIGHT:
        return kind, wait
    by_day = _BY_DAY.search(report.text) is not None
    if kind is _K.RATE and by_day and wait is None:
        now = datetime.now(UTC)
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return _K.QUOTA, (midnight - now).total_seconds()
    long = (wait or 0.0) >= (_SHORT_WAIT if by_day else _LONG_WAIT)
    return (_K.QUOTA if long or _BY_MONTH.search(report.text) is not None else kind), wait


def _wait(kind: ProviderErrorKind, headers: Mapping[str, str], report: Report) -> float | None:
    """Returns the seconds to wait. A proxy may pass on the headers of the server behind it in the metadata.

    X-RateLimit-Reset is in every answer, so it is a wait only where a rate was too high.
    """
    inner = report.metadata.get("headers")
    now = datetime.now(UTC)
    for source in (headers, inner if isinstance(inner, Mapping) else {}):
        named = {
            name.lower(): value for name, value in source.items() if isinstance(name, str) and isinstance(value, str)
        }
        wait = wait_asked(named, now, rate_limited=kind in OF_THE_PACE)
        if wait is not None:
            return wait
    again = _AGAIN_IN.search(report.text)
    if again is not None:
        hours, minutes, seconds = (float(each or 0) for each in again.groups())
        return 3600 * hours + 60 * minutes + seconds or None
    return next(iter(report.waits.values()), None)
