"""Calls for audio, through aiohttp: receiving them takes a third of the CPU time that it takes the SDK.

Failures of aiohttp that look different from those of httpx:

- An answer that breaks off is reported by the next read, before what has arrived is handed over. So whether the error
  is TRUNCATED or TRANSPORT is decided by the bytes that arrived, not by those that were read.
- A body that is no valid chunked coding is refused with its head where it arrives together with it: TRANSPORT. Later on
  aiohttp 3.14 closes the connection and waits for more nevertheless. So each read has a deadline here: TIMEOUT.
- `sock_read` is not used. aiohttp 3.14 restarts that timer when a reader has made room again, also where the answer
  has come whole: it would take sound from a slow reader, and fail the next call on a connection that rested meanwhile.
- ConnectionTimeoutError is a ClientError as well as a TimeoutError: timeouts are caught first.
- A wait for a free connection and a slow connect both end with ConnectionTimeoutError. So connections are counted
  here (CONCURRENCY), and aiohttp's own queue stays empty (TIMEOUT).
- `connect` and not `sock_connect` is the timeout that includes the look-up of the name.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
import httpx
import orjson
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError
from elevenlabs.core.api_error import ApiError
from elevenlabs.core.client_wrapper import AsyncClientWrapper
from elevenlabs.core.parse_error import ParsingError
from elevenlabs.models.client import AsyncModelsClient
from elevenlabs.types import Model, Voice, VoiceSettings
from elevenlabs.user.subscription.client import AsyncSubscriptionClient
from elevenlabs.voices.client import AsyncVoicesClient

from servicekit.environment import proxy_for
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.providers.elevenlabs.api import Endpoint, error_of_answer, failure, json_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping

    from elevenlabs.core.request_options import RequestOptions

    from voice_service.providers.elevenlabs.api import ElevenLabsConfig
    from voice_service.providers.elevenlabs.models import SpeechCall


_PATHS: Final = {Endpoint.TIMESTAMPS: "/stream/with-timestamps", Endpoint.STREAM: "/stream", Endpoint.CONVERT: ""}
KEY_HEADER: Final = "xi-api-key"
_KEEPALIVE_SECONDS: Final = 60.0
_UNREACHED: Final = (aiohttp.ClientConnectorError, ProxyConnectionError, ProxyError, ProxyTimeoutError)
_BROKEN: Final = (aiohttp.ClientError, OSError)
_READ_BYTES: Final = 64 * 1024
"""Reading pauses while twice as much waits."""


@dataclass(frozen=True, slots=True)
class SpeechResponse:
    """An answer of status 200 whose body is still to come; names of headers in any case."""

    headers: Mapping[str, str]
    body: AsyncIterator[bytes]


class SpeechClient:
    """Calls ElevenLabs for audio, never twice for one call, and raises ProviderError alone."""

    def __init__(self, config: ElevenLabsConfig, *, tls: ssl.SSLContext, proxy: str | None) -> None:
        """Connections are opened in the event loop of the first call."""
        # The paths begin with the version.
        self._url = f"{config.base_url.removesuffix('/v1').rstrip('/')}/v1/text-to-speech/"
        self._config = config
        self._tls = tls
        self._proxy = proxy
        self._free = asyncio.Semaphore(config.connections)
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def request(self, call: SpeechCall, key: str) -> AsyncGenerator[SpeechResponse, None]:
        """Requests speech and yields the response while it arrives. Raises ProviderError, also from its body."""
        body = _body(call)
        response: aiohttp.ClientResponse | None = None
        try:
            async with (
                self._connection(),
                await self._post(call, body, key) as response,
                aclosing(self._read(response.content)) as pieces,
            ):
                if not 200 <= response.status < 300:
                    texts = (call.text, call.previous_text or "")
                    raise error_of_answer(response.status, response.headers, await json_of(pieces), texts)
                yield SpeechResponse(response.headers, pieces)
        except (aiohttp.ConnectionTimeoutError, *_UNREACHED) as error:
            kind = ProviderErrorKind.TIMEOUT if isinstance(error, TimeoutError) else ProviderErrorKind.TRANSPORT
            raise failure(kind, "it cannot be reached", billed=False) from error
        except TimeoutError as error:
            raise failure(ProviderErrorKind.TIMEOUT, "it did not answer in time") from error
        except _BROKEN as error:
            if response is not None and response.status < 300 and response.content.total_bytes:
                raise failure(
                    ProviderErrorKind.TRUNCATED, "the connection broke in the middle of the answer"
                ) from error
            raise failure(ProviderErrorKind.TRANSPORT, "it cannot be reached, or broke the connection") from error

    async def aclose(self) -> None:
        """Closes all connections."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[None, None]:
        try:
            async with asyncio.timeout(self._config.pool_seconds):
                await self._free.acquire()
        except TimeoutError as error:
            raise failure(ProviderErrorKind.CONCURRENCY, "all connections are in use") from error
        try:
            yield
        finally:
            self._free.release()

    async def _read(self, content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
        while True:
            async with asyncio.timeout(self._config.read_seconds):
                piece = await content.readany()
            if not piece:
                return
            yield piece

    async def _post(self, call: SpeechCall, body: bytes, key: str) -> aiohttp.ClientResponse:
        query = {"output_format": call.output_format}
        if call.enable_logging is not None:
            query["enable_logging"] = str(call.enable_logging).lower()
        async with asyncio.timeout(self._config.connect_seconds + self._config.read_seconds):
            return await self._opened().post(
                f"{self._url}{call.voice_id}{_PATHS[call.endpoint]}",
                params=query,
                data=body,
                headers={KEY_HEADER: key},
                # A redirect to another host would take the key along.
                allow_redirects=False,
            )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            config = self._config
            socks = self._proxy is not None and self._proxy.startswith("socks5")
            self._session = aiohttp.ClientSession(
                connector=_connector(
                    self._proxy if socks else None,
                    limit=config.connections,
                    keepalive_timeout=_KEEPALIVE_SECONDS,
                    ssl=self._tls,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Base64 shrinks by a quarter, and unpacking it takes 28 ms a story, as long as all the rest.
                headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
                proxy=None if socks else self._proxy,
                read_bufsize=_READ_BYTES,
                # `connect` includes TLS; the caller bounds the whole.
                timeout=aiohttp.ClientTimeout(total=None, connect=config.connect_seconds),
            )
        return self._session


def _connector(socks: str | None, **how: Any) -> aiohttp.BaseConnector:
    """Returns what opens connections, through a SOCKS proxy where one is given: aiohttp itself knows only HTTP ones."""
    if socks is None:
        return aiohttp.TCPConnector(**how)
    # Names of hosts are the proxy's to look up, as socks5h says.
    return ProxyConnector.from_url(socks.replace("socks5h://", "socks5://"), rdns=True, **how)


def _body(call: SpeechCall) -> bytes:
    settings = VoiceSettings(**asdict(call.settings)).model_dump(exclude_none=True)
    fields: dict[str, Any] = {
        "text": call.text,
        "model_id": call.model_id,
        "voice_settings": settings,
        "language_code": call.language_code,
        "previous_text": call.previous_text,
    }
    try:
        return orjson.dumps({name: value for name, value in fields.items() if value is not None})
    except orjson.JSONEncodeError as error:
        raise failure(ProviderErrorKind.INVALID_INPUT, "the text has half a character") from error


T = TypeVar("T")


class ElevenLabsClient:
    """Calls ElevenLabs, never twice for one call, and raises ProviderError alone."""

    def __init__(self, config: ElevenLabsConfig, observe: Callable[[str, str, float], None]) -> None:
        """`observe` is called with endpoint, status and seconds of each call that is no speech."""
        self._observe = observe
        tls, proxy = httpx.create_ssl_context(), proxy_for(config.base_url)
        self.speech: Final = SpeechClient(config, tls=tls, proxy=proxy)
        self._list_seconds = config.list_seconds
        self._http = httpx.AsyncClient(
            verify=tls,
            proxy=proxy,
            trust_env=False,
            # A redirect to another host would take the key along.
            follow_redirects=False,
        )
        # The parts that are called: `elevenlabs.client` imports all of the SDK, 300 modules more and 12 MB.
        sdk = AsyncClientWrapper(
            # Its paths begin with the version.
            base_url=config.base_url.removesuffix("/v1"),
            timeout=config.list_seconds,
            httpx_client=self._http,
        )
        self._voices = AsyncVoicesClient(client_wrapper=sdk)
        self._models = AsyncModelsClient(client_wrapper=sdk)
        self._subscription = AsyncSubscriptionClient(client_wrapper=sdk)

    async def voices(self, key: str) -> list[Voice]:
        """Lists all voices of the account, those of older models too."""
        async with self._in_time("voices"):
            answer = await self._voices.get_all(show_legacy=True, request_options=_options(key))
            return _listed(getattr(answer, "voices", None), Voice, "voice_id")

    async def voice(self, voice_id: str, key: str) -> Voice:
        """Returns a voice, listed or not."""
        async with self._in_time("voice"):
            answer = await self._voices.get(voice_id, request_options=_options(key))
            return _listed([answer], Voice, "voice_id", least=1)[0]

    async def models(self, key: str) -> list[Model]:
        """Lists all models."""
        async with self._in_time("models"):
            return _listed(await self._models.list(request_options=_options(key)), Model, "model_id")

    async def subscription(self, key: str) -> tuple[int, str]:
        """Returns what the account has not used, in characters, below zero where it may use more; and its plan."""
        async with self._in_time("subscription"):
            answer = await self._subscription.get(request_options=_options(key))
            limit, used = (getattr(answer, name, None) for name in ("character_limit", "character_count"))
            if not isinstance(limit, int) or not isinstance(used, int):
                raise _unreadable()
            tier = getattr(answer, "tier", None)
            return limit - used, tier if isinstance(tier, str) else ""

    async def aclose(self) -> None:
        """Closes all connections."""
        await self.speech.aclose()
        await self._http.aclose()

    @asynccontextmanager
    async def _in_time(self, endpoint: str) -> AsyncGenerator[None, None]:
        began, status = time.monotonic(), "cancelled"
        try:
            async with asyncio.timeout(self._list_seconds):
                with _typed():
                    yield
            status = "success"
        except TimeoutError as error:
            status = ProviderErrorKind.TIMEOUT.value
            raise failure(ProviderErrorKind.TIMEOUT, "the answer did not come in time") from error
        except ProviderError as error:
            status = error.kind.value
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # So the SDK trips over JSON of another shape than it expects.
            status = ProviderErrorKind.TRANSPORT.value
            raise _unreadable() from error
        finally:
            self._observe(endpoint, status, time.monotonic() - began)


@contextmanager
def _typed() -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        raise error_of_answer(error.status_code or 0, headers, error.body) from error
    except ParsingError as error:
        raise _unreadable() from error
    except httpx.TimeoutException as error:
        raise failure(ProviderErrorKind.TIMEOUT, "it did not answer in time") from error
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
        raise failure(ProviderErrorKind.TRANSPORT, "it cannot be reached, or broke the connection") from error


def _listed(values: object, kind: type[T], name: str, *, least: int = 0) -> list[T]:
    """Returns those of `values` that are of a kind and have an id; the SDK checks neither."""
    if not isinstance(values, list):
        raise _unreadable()
    found = [value for value in values if isinstance(value, kind) and isinstance(getattr(value, name, None), str)]
    if len(found) < least:
        raise _unreadable()
    return found


def _options(key: str) -> RequestOptions:
    # The wait between retries is not the SDK's to choose; and speech it would not retry at all.
    return {"max_retries": 0, "additional_headers": {KEY_HEADER: key}}


def _unreadable() -> ProviderError:
    return failure(ProviderErrorKind.TRANSPORT, "the answer cannot be read")
