"""The SDK of ElevenLabs, and how it fails.

Importing this takes about a second: see `provider.ElevenLabsProvider`, which does it in a thread.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import httpx
from elevenlabs.client import AsyncElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.core.parse_error import ParsingError
from elevenlabs.types import Model, Voice, VoiceSettings

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.elevenlabs.config import NAME, Endpoint
from voice_service.elevenlabs.errors import error_of_answer
from voice_service.elevenlabs.pools import SpreadTransport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from elevenlabs.core.http_response import AsyncHttpResponse
    from elevenlabs.core.request_options import RequestOptions
    from elevenlabs.models.client import AsyncModelsClient
    from elevenlabs.text_to_speech.raw_client import AsyncRawTextToSpeechClient
    from elevenlabs.user.subscription.client import AsyncSubscriptionClient
    from elevenlabs.voices.client import AsyncVoicesClient

    from voice_service.elevenlabs.config import ElevenLabsConfig
    from voice_service.elevenlabs.request import SpeechCall

T = TypeVar("T")

_KEY_HEADER: Final = "xi-api-key"
_KEEPALIVE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of status 200 whose body is still to come; names of headers in lower case."""

    headers: Mapping[str, str]
    body: AsyncIterator[bytes]


class Upstream:
    """Calls ElevenLabs, never twice for one call, and raises ProviderError alone."""

    def __init__(self, config: ElevenLabsConfig, observe: Callable[[str, str, float], None]) -> None:
        """`observe` is told endpoint, status and seconds of each call that is no speech."""
        self._observe = observe
        timeout = httpx.Timeout(config.read_seconds, connect=config.connect_seconds, pool=config.pool_seconds)
        self._list_seconds = config.list_seconds
        self._http = httpx.AsyncClient(
            timeout=timeout,
            transport=SpreadTransport(connections=config.connections, keepalive_seconds=_KEEPALIVE_SECONDS),
            # A redirect to another host would take the key along.
            follow_redirects=False,
        )
        client = AsyncElevenLabs(
            # Its paths begin with the version.
            base_url=config.base_url.removesuffix("/v1"),
            # Else it takes what the environment had when it was imported; ours goes with each call.
            api_key=None,
            # It gives this to httpx as it is, in place of the client's own.
            timeout=cast("float", timeout),
            httpx_client=self._http,
        )
        # These import more of the SDK.
        self._speech: AsyncRawTextToSpeechClient = client.text_to_speech.with_raw_response
        self._voices: AsyncVoicesClient = client.voices
        self._models: AsyncModelsClient = client.models
        self._subscription: AsyncSubscriptionClient = client.user.subscription

    @asynccontextmanager
    async def speech(self, call: SpeechCall, key: str) -> AsyncGenerator[Answer, None]:
        """Ask for speech and give the answer while it comes. Raises ProviderError, also from its body."""
        # What is given as None would be sent as null.
        told = {name: value for name, value in asdict(call.settings).items() if value is not None}
        arguments: dict[str, Any] = {
            "text": call.text,
            "model_id": call.model_id,
            "voice_settings": VoiceSettings(**told),
            "output_format": call.output_format,
            "enable_logging": call.enable_logging,
            "request_options": _options(key),
        }
        if call.language_code is not None:
            arguments["language_code"] = call.language_code
        if call.previous_text is not None:
            arguments["previous_text"] = call.previous_text
        methods: Mapping[Endpoint, Callable[..., AbstractAsyncContextManager[AsyncHttpResponse[Any]]]] = {
            Endpoint.TIMESTAMPS: self._speech.stream_with_timestamps,
            Endpoint.STREAM: self._speech.stream,
            Endpoint.CONVERT: self._speech.convert,
        }
        begun = _Begun()
        with _typed(begun):
            async with methods[call.endpoint](call.voice_id, **arguments) as wrapped:
                # What the SDK makes of the body loses lines; the answer itself is what it has no public name for.
                response: httpx.Response = wrapped._response  # noqa: SLF001 - see above
                async with aclosing(_counted(response, begun)) as body:
                    yield Answer(response.headers, body)

    async def voices(self, key: str) -> list[Voice]:
        """List all voices of the account, those of older models too."""
        async with self._in_time("voices"):
            answer = await self._voices.get_all(show_legacy=True, request_options=_options(key))
            return _listed(getattr(answer, "voices", None), Voice, "voice_id")

    async def voice(self, voice_id: str, key: str) -> Voice:
        """Return a voice, listed or not."""
        async with self._in_time("voice"):
            answer = await self._voices.get(voice_id, request_options=_options(key))
            return _listed([answer], Voice, "voice_id", least=1)[0]

    async def models(self, key: str) -> list[Model]:
        """List all models."""
        async with self._in_time("models"):
            return _listed(await self._models.list(request_options=_options(key)), Model, "model_id")

    async def remaining_characters(self, key: str) -> int:
        """Return what the account has not used of what it has; below zero where it may use more."""
        async with self._in_time("subscription"):
            answer = await self._subscription.get(request_options=_options(key))
            limit, used = (getattr(answer, name, None) for name in ("character_limit", "character_count"))
            if not isinstance(limit, int) or not isinstance(used, int):
                raise _unreadable()
            return limit - used

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    @asynccontextmanager
    async def _in_time(self, endpoint: str) -> AsyncGenerator[None, None]:
        began, status = time.monotonic(), "cancelled"
        try:
            async with asyncio.timeout(self._list_seconds):
                with _typed(_Begun()):
                    yield
            status = "success"
        except TimeoutError as error:
            status = ProviderErrorKind.TIMEOUT.value
            raise _error(ProviderErrorKind.TIMEOUT, "the answer did not come in time") from error
        except ProviderError as error:
            status = error.kind.value
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # So the SDK trips over JSON of another shape than it expects.
            status = ProviderErrorKind.TRANSPORT.value
            raise _unreadable() from error
        finally:
            self._observe(endpoint, status, time.monotonic() - began)


@dataclass(slots=True)
class _Begun:
    """Whether some of the body has come."""

    yes: bool = False


async def _counted(response: httpx.Response, begun: _Begun) -> AsyncGenerator[bytes, None]:
    pieces = response.aiter_bytes()
    try:
        async for piece in pieces:
            begun.yes = True
            yield piece
    finally:
        await cast("AsyncGenerator[bytes, None]", pieces).aclose()


@contextmanager
def _typed(begun: _Begun) -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        raise error_of_answer(error.status_code or 0, headers, error.body) from error
    except ParsingError as error:
        raise _unreadable() from error
    except UnicodeEncodeError as error:
        raise _error(ProviderErrorKind.INVALID_INPUT, "the text has half a character") from error
    except httpx.PoolTimeout as error:
        raise _error(ProviderErrorKind.CONCURRENCY, "all connections are in use") from error
    except httpx.TimeoutException as error:
        raise _error(ProviderErrorKind.TIMEOUT, "it did not answer in time") from error
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
        if begun.yes:
            raise _error(ProviderErrorKind.TRUNCATED, "the connection broke in the middle of the answer") from error
        raise _error(ProviderErrorKind.TRANSPORT, "it can not be reached, or broke the connection") from error


def _listed(values: object, kind: type[T], name: str, *, least: int = 0) -> list[T]:
    """Return those of `values` that are of a kind and have an id; the SDK checks neither."""
    if not isinstance(values, list):
        raise _unreadable()
    found = [value for value in values if isinstance(value, kind) and isinstance(getattr(value, name, None), str)]
    if len(found) < least:
        raise _unreadable()
    return found


def _options(key: str) -> RequestOptions:
    # The wait between retries is not the SDK's to choose; and speech it would not retry at all.
    return {"max_retries": 0, "additional_headers": {_KEY_HEADER: key}}


def _error(kind: ProviderErrorKind, message: str) -> ProviderError:
    return ProviderError(kind, message, provider=NAME)


def _unreadable() -> ProviderError:
    return _error(ProviderErrorKind.TRANSPORT, "the answer can not be read")
