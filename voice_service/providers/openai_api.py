"""A client of a server that speaks OpenAI's API, made when it is first needed, and its failures as ProviderErrors.

Statuses are read as OpenAI and OpenRouter document them; codes in the
body come first, since OpenAI answers 429 where credits are used up and OpenRouter 403 where a filter refused.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from servicekit.environment import proxy_for
from servicekit.resilience.errors import TREATMENTS, ProviderError, ProviderErrorKind, wait_asked
from servicekit.resilience.said import Cleaner
from voice_service.providers.loading import SDK_LOADING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai import AsyncOpenAI, Omit

    from servicekit.secrets import SecretSource


_CONNECT_SECONDS: Final = 5.0
_SILENCE_SECONDS: Final = 600.0
"""Seconds without a byte after which a call is given up, unless its caller gave it up before."""


class OpenAIClient:
    """Holds an `AsyncOpenAI` for one address. The SDK takes 1.5 s to import, so a thread does it.

    `provider` names it in errors. The key is read for each call; without one, none is sent.
    """

    def __init__(self, base_url: str, key: SecretSource, *, provider: str) -> None:
        self._base_url = base_url
        self._key = key
        self._provider = provider
        self._making: asyncio.Task[AsyncOpenAI] | None = None

    def warm_up(self) -> None:
        """Begins to load the SDK. Needs a running event loop."""
        if self._making is None:
            self._making = asyncio.create_task(asyncio.to_thread(_load, self._base_url), name="load-openai")

    async def get(self) -> AsyncOpenAI:
        """Returns the SDK's client; waits for it to be loaded the first time."""
        self.warm_up()
        assert self._making is not None  # noqa: S101 - warm_up has just seen to it
        return await asyncio.shield(self._making)

    def headers(self) -> Mapping[str, str | Omit]:
        """Headers of a call that is made now; the client is loaded. Raises ProviderError, AUTH on a key that is none.

        A key with a line break in it would be quoted by the error of the library that refuses to send it.
        """
        from openai import Omit  # noqa: PLC0415 - loaded by now

        key = self._key.get()
        if not key:
            return {"Authorization": Omit()}
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ProviderError(
                ProviderErrorKind.AUTH, "the key holds characters that no key has", provider=self._provider
            )
        return {"Authorization": f"Bearer {key}"}

    async def aclose(self) -> None:
        """Closes the connections."""
        making, self._making = self._making, None
        if making is not None:
            await (await making).close()


def _load(base_url: str) -> AsyncOpenAI:
    with SDK_LOADING:
        return _make(base_url)


def _make(base_url: str) -> AsyncOpenAI:
    import httpx2  # noqa: PLC0415 - comes with the SDK
    import openai  # noqa: PLC0415 - takes more than a second: this runs in a thread

    client = openai.AsyncOpenAI(
        base_url=base_url,
        api_key="given with each call",
        max_retries=0,
        timeout=httpx2.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
        # A redirect would carry a child's story to an address that is not configured.
        http_client=openai.DefaultAsyncHttpxClient(
            follow_redirects=False, trust_env=False, verify=httpx2.create_ssl_context(), proxy=proxy_for(base_url)
        ),
    )
    # The SDK imports its resources when they are first looked at.
    _ = client.audio.speech.with_streaming_response, client.audio.transcriptions
    return client


_KINDS_BY_WORD: Final = {
    "content_filter": ProviderErrorKind.CONTENT_POLICY,
    "content_policy": ProviderErrorKind.CONTENT_POLICY,
    "content_policy_violation": ProviderErrorKind.CONTENT_POLICY,
    "moderation_blocked": ProviderErrorKind.CONTENT_POLICY,
    "billing_hard_limit_reached": ProviderErrorKind.QUOTA,
    "insufficient_credits": ProviderErrorKind.QUOTA,
    "insufficient_quota": ProviderErrorKind.QUOTA,
    "quota_exceeded": ProviderErrorKind.QUOTA,
    "invalid_api_key": ProviderErrorKind.AUTH,
    "rate_limit_exceeded": ProviderErrorKind.RATE,
    "invalid_model": ProviderErrorKind.UNSUPPORTED,
    "model_not_found": ProviderErrorKind.UNSUPPORTED,
    "voice_not_found": ProviderErrorKind.UNSUPPORTED,
}
_OK: Final = 200
_KINDS_BY_STATUS: Final = {
    _OK: ProviderErrorKind.TRANSPORT,
    401: ProviderErrorKind.AUTH,
    402: ProviderErrorKind.QUOTA,
    403: ProviderErrorKind.AUTH,
    404: ProviderErrorKind.UNSUPPORTED,
    405: ProviderErrorKind.UNSUPPORTED,
    408: ProviderErrorKind.TIMEOUT,
    429: ProviderErrorKind.RATE,
    501: ProviderErrorKind.UNSUPPORTED,
}
_SAID: Final = {
    ProviderErrorKind.INVALID_INPUT: "it refuses the request",
    ProviderErrorKind.UNSUPPORTED: "it does not know the model, the voice or the address",
    ProviderErrorKind.AUTH: "it does not accept the key",
    ProviderErrorKind.QUOTA: "its quota is used up",
    ProviderErrorKind.RATE: "it reports too many calls",
    ProviderErrorKind.OVERLOAD: "it failed or is overloaded",
    ProviderErrorKind.TIMEOUT: "it reported a timeout",
    ProviderErrorKind.TRANSPORT: "it sent an unreadable error",
    ProviderErrorKind.CONTENT_POLICY: "its content filter refused the text",
}
_LOADING: Final = re.compile(
    r"\bloading|warming up|initiali[sz]|starting up|not (?:yet )?(?:ready|loaded)", re.IGNORECASE
)
_LOADING_SECONDS: Final = 15.0
"""Pause after which a server is called again whose model is being loaded, if it names none."""
_LIMIT: Final = re.compile(
    r"(?:max|at most|limit|exceed|up to|(?:longer|more|less|fewer) than|\d >)[^\d.]{0,40}?"
    r"(?P<n>\d[\d,]*)(?P<token> token)?"
    r"|(?P<m>\d[\d,]*)[ -]?(?:char\w*|(?P<of>token)s?)[ -]?(?:max|limit|or (?:less|fewer))",
    re.IGNORECASE,
)
_OF_VOICE: Final = re.compile(
    r"\bvoices?\b[^.]{0,240}?\b(?:not (?:found|exist|supported|available|valid)|unknown|invalid|unsupported)"
    r"|\b(?:unknown|invalid|unsupported|no such|no|find|load)\b[^.]{0,20}\bvoice|voice_not_found"
    r"|['\"](?:param['\"]: ?['\"]|loc['\"]: ?[\[(][^\])]*['\"])voice['\"]",
    re.IGNORECASE,
)
_MAY_NAME_A_VOICE: Final = frozenset(
    {ProviderErrorKind.INVALID_INPUT, ProviderErrorKind.UNSUPPORTED, ProviderErrorKind.OVERLOAD}
)
_REQUEST_IDS: Final = ("x-request-id", "x-generation-id")
_LONGEST_ID: Final = 128
_MOST_READ: Final = 4_000
_MOST_DIGITS: Final = 9


class RefusedError(ProviderError):
    """An answer that is an error: `of_voice` where it is about the voice.

    `limits` are the lengths of texts that it names, in characters.
    """

    def __init__(
        self,
        kind: ProviderErrorKind,
        message: str,
        *,
        of_voice: bool = False,
        limits: tuple[int, ...] = (),
        **given: Any,
    ) -> None:
        treatment = replace(TREATMENTS[kind], reason="VOICE_NOT_FOUND") if of_voice else None
        super().__init__(kind, message, treatment=treatment, **given)
        self.of_voice = of_voice
        self.limits = limits


class ResponseProgress:
    """How far an answer has come: `received` is set with its first byte."""

    def __init__(self) -> None:
        self.received = False


@contextmanager
def typed_errors(provider: str, progress: ResponseProgress | None = None, *, text: str | None = None) -> Iterator[None]:
    """Raises ProviderError of `provider` for what the SDK, or the client below it, raises in the body.

    A connection that breaks is TRANSPORT before the first byte of `progress` and TRUNCATED after it. What a server says
    is repeated without the words of `text`, which it was sent; None: it is not repeated.
    """
    import httpx2  # noqa: PLC0415 - comes with the SDK, which is loaded where it raises
    import openai  # noqa: PLC0415 - likewise

    try:
        yield
    except openai.APIStatusError as error:
        answer = error.response
        raise from_status(answer.status_code, error.body, answer.headers, provider=provider, text=text) from error
    except (openai.APIConnectionError, httpx2.TimeoutException) as error:
        cause = error.__cause__ or error
        if isinstance(cause, httpx2.TimeoutException) and not isinstance(cause, httpx2.ConnectTimeout):
            raise ProviderError(ProviderErrorKind.TIMEOUT, "no answer came in time", provider=provider) from error
        billed = not isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout))
        raise ProviderError(
            ProviderErrorKind.TRANSPORT, "it cannot be reached", provider=provider, billed=billed
        ) from error
    except (openai.APIError, httpx2.HTTPError) as error:
        kind = ProviderErrorKind.TRANSPORT
        message = "its answer cannot be read"
        if progress is not None and progress.received:
            kind, message = ProviderErrorKind.TRUNCATED, "its answer broke off"
        raise ProviderError(kind, message, provider=provider) from error


def from_status(
    status: int, body: object, headers: Mapping[str, str], *, provider: str, text: str | None = None
) -> RefusedError:
    """Returns the error for an answer with the HTTP `status`; `body` is its JSON, or anything else."""
    kind, whole = _kind(status, body), str(body)[:_MOST_READ]
    of_voice = kind in _MAY_NAME_A_VOICE and _OF_VOICE.search(whole) is not None
    if of_voice:
        kind = ProviderErrorKind.UNSUPPORTED
    said, wait = _SAID[kind], wait_asked(headers, rate_limited=status == 429)
    if kind is ProviderErrorKind.OVERLOAD and _LOADING.search(whole) is not None:
        said, wait = "it is loading its model", _LOADING_SECONDS if wait is None else wait
    return RefusedError(
        kind,
        f"{said} (HTTP {status})",
        provider=provider,
        retry_after=wait,
        status=status,
        request_id=request_id(headers),
        said="" if text is None else Cleaner([text], model="").clean(_words(body)),
        of_voice=of_voice,
        limits=tuple(_limits(whole)),
    )


def from_answer(answer: object, headers: Mapping[str, str], *, provider: str, text: str | None = None) -> RefusedError:
    """Returns the error for JSON that came with HTTP 200 instead of the requested content."""
    error = answer.get("error") if isinstance(answer, Mapping) else None
    code = error.get("code") if isinstance(error, Mapping) else None
    status = code if isinstance(code, int) and 400 <= code <= 599 else _OK
    return from_status(status, answer, headers, provider=provider, text=text)


def _limits(text: str) -> Iterator[int]:
    for found in _LIMIT.finditer(text):
        number = int((found["n"] or found["m"]).replace(",", "")[:_MOST_DIGITS])
        # A token is a character at least, but of scripts whose characters are two.
        yield number // 2 if found["token"] or found["of"] else number


def request_id(headers: Mapping[str, str]) -> str:
    """Returns the server's id of the call; "" where it gives none that can be shown."""
    found = next((headers[name] for name in _REQUEST_IDS if headers.get(name)), "")
    return found if found.isascii() and found.isprintable() and len(found) <= _LONGEST_ID else ""


def _kind(status: int, body: object) -> ProviderErrorKind:
    named = _by_word(body)
    if named is not None:
        return named
    if status in _KINDS_BY_STATUS:
        return _KINDS_BY_STATUS[status]
    if status >= 500:
        return ProviderErrorKind.OVERLOAD
    # Below 400 it is a redirect, which is not followed.
    return ProviderErrorKind.INVALID_INPUT if status >= 400 else ProviderErrorKind.UNSUPPORTED


def _by_word(body: object) -> ProviderErrorKind | None:
    """The kind that a code in `body` names: of OpenAI ("code", "type"), of FastAPI ("detail"), of OpenRouter."""
    for part in _parts(body):
        metadata = part.get("metadata")
        if isinstance(metadata, Mapping) and {"reasons", "flagged_input"} & metadata.keys():
            return ProviderErrorKind.CONTENT_POLICY
        for key in ("code", "type", "error"):
            word = part.get(key)
            if isinstance(word, str) and word in _KINDS_BY_WORD:
                return _KINDS_BY_WORD[word]
    return None


def _words(body: object) -> str:
    """Returns what `body` says: a message or a detail in it, the first of a list; or all of it."""
    if isinstance(body, Mapping):
        found = (_words(body.get(key)) for key in ("message", "msg", "detail", "error", "code"))
        return next(filter(None, found), "")
    if isinstance(body, list):
        return _words(body[0]) if body else ""
    # Neither a page nor bytes.
    return body if isinstance(body, str) and not body.lstrip().startswith("<") and "\ufffd" not in body else ""


def _parts(body: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(body, Mapping):
        yield body
        for key in ("error", "detail"):
            if isinstance(part := body.get(key), Mapping):
                yield part
