"""OpenAI's SDK and its HTTP client, which take long to import: `model.py` imports it in a thread."""

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final

import aiohttp
import httpx2
import openai

from servicekit.environment import proxy_for
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from story_service.providers.chat.dialect import Dialect
from story_service.providers.chat.errors import Failures

# The SDK lets through what its HTTP client raises, and that what its transport raises.
_BROKEN: Final = (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, aiohttp.ClientError)
# To the SDK a server that hangs up after it has got the request is one that cannot be connected to, too.
_UNREACHED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_OF_THE_PROXY: Final = (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)
_NO_TLS: Final = frozenset({"HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "WRONG_VERSION_NUMBER"})
_CONNECT_SECONDS: Final = 10.0
_KEEP_SECONDS: Final = 60.0
_MAX_ERROR_BYTES: Final = 65_536


class Reply:
    """An answer that is being read."""

    def __init__(self, response: httpx2.Response, failures: Failures) -> None:
        self._failures = failures
        self.headers: Mapping[str, str] = response.headers
        self._chunks = aiter(_bytes(response))

    async def read(self) -> bytes:
        """Returns some bytes, none at the end. Raises ProviderError TRANSPORT."""
        try:
            return await anext(self._chunks, b"")
        except _BROKEN as error:
            raise _translated(error, self._failures) from None


def _bytes(response: httpx2.Response) -> AsyncIterable[bytes]:
    """Returns the body. An uncompressed one is read as it comes, which costs a quarter less."""
    plain = response.headers.get("content-encoding", "identity") == "identity"
    return response.stream if plain and isinstance(response.stream, httpx2.AsyncByteStream) else response.aiter_bytes()


class _Bounded(httpx2.AsyncByteStream):
    """The beginning of a body, at most `_MAX_ERROR_BYTES`."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = _MAX_ERROR_BYTES
        async for chunk in self._stream:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()


class Upstream:
    """One pool of connections. It retries and redirects nothing; only connecting has a timeout."""

    def __init__(self, dialect: Dialect, key: Callable[[], Awaitable[str]]) -> None:
        """`key` is read before every call; "" sends none."""
        self._base_url = dialect.url
        self._key = key
        proxy = proxy_for(dialect.url)
        # On aiohttp, whose parser reads single events for a third of what httpx2's own costs; but it knows no SOCKS.
        through_socks = proxy is not None and proxy.startswith("socks")
        client = openai.DefaultAsyncHttpxClient if through_socks else openai.DefaultAioHttpClient
        self._http = client(
            trust_env=False,
            proxy=proxy,
            verify=httpx2.create_ssl_context(),
            # A redirect would carry a child's name to wherever it points.
            follow_redirects=False,
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=dialect.max_connections, keepalive_expiry=_KEEP_SECONDS),
            event_hooks={"response": [_bound]},
        )
        self._client = openai.AsyncOpenAI(
            api_key=key,
            base_url=dialect.url,
            max_retries=0,
            http_client=self._http,
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
        )
        # The environment may hold those of another upstream.
        self._client.organization = self._client.project = None
        self._completions = self._client.chat.completions.with_streaming_response
        self._moderations = self._client.moderations.with_streaming_response

    def chat(self, body: Mapping[str, Any], failures: Failures) -> AbstractAsyncContextManager[Reply]:
        """`POST /chat/completions`, open while it is read. Raises ProviderError for a status that is no success."""
        fields = dict(body)
        model, messages, stream = (fields.pop(name) for name in ("model", "messages", "stream"))
        create = partial(self._completions.create, model=model, messages=messages, stream=stream, extra_body=fields)
        return self._opened(create, failures)

    def moderation(self, text: str, model: str, failures: Failures) -> AbstractAsyncContextManager[Reply]:
        """`POST /moderations`, as `chat` does it; without a `model` the server chooses."""
        return self._opened(partial(self._moderations.create, input=text, model=model or openai.omit), failures)

    @asynccontextmanager
    async def _opened(
        self, create: Callable[..., AbstractAsyncContextManager[Any]], failures: Failures
    ) -> AsyncIterator[Reply]:
        # Compressed events would wait for each other.
        headers: dict[str, str | openai.Omit] = {"Accept-Encoding": "identity"}
        if not await self._key():
            headers["Authorization"] = openai.Omit()
        try:
            async with create(extra_headers=headers) as response:
                yield Reply(response.http_response, failures)
        except _BROKEN as error:
            raise _translated(error, failures) from None

    async def get(
        self, path: str, params: Mapping[str, str], failures: Failures, *, max_bytes: int
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Returns status, headers and body of a GET. Raises ProviderError TRANSPORT, also beyond `max_bytes`."""
        body = bytearray()
        try:
            key = await self._key()
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            async with self._http.stream(
                "GET", self._base_url + path, params=dict(params), headers=headers
            ) as response:
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > max_bytes:
                        raise failures.of(ProviderErrorKind.TRANSPORT)
        except _BROKEN as error:
            raise _translated(error, failures) from None
        return response.status_code, response.headers, bytes(body)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.close()


async def _bound(response: httpx2.Response) -> None:
    if not response.is_success and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


def _translated(error: Exception, failures: Failures) -> ProviderError:
    if isinstance(error, openai.APIStatusError):
        response = error.response
        request_id = response.headers.get("x-generation-id", "")
        return failures.of_body(_content(response), response.headers, status=error.status_code, request_id=request_id)
    causes = tuple(_causes(error))
    if any(isinstance(cause, _OF_THE_PROXY) for cause in causes):
        return failures.unreachable(by_proxy=True)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return failures.untrusted()
    # aiohttp's own SSL error has no reason.
    if any(isinstance(cause, ssl.SSLError) and getattr(cause, "reason", "") in _NO_TLS for cause in causes):
        return failures.no_tls()
    if any(isinstance(cause, _UNREACHED) for cause in causes):
        return failures.unreachable()
    # The transport's own error says that a timer ran out, which those around it may not.
    late = any(isinstance(cause, TimeoutError) for cause in causes)
    return failures.of(ProviderErrorKind.TIMEOUT if late else ProviderErrorKind.TRANSPORT)


def _content(response: httpx2.Response) -> bytes:
    """Returns the body of a refusal, as much as was read of it."""
    try:
        return response.content
    except httpx2.ResponseNotRead:
        return b""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
