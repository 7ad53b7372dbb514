"""Calls to ElevenLabs: voices, models and account through its SDK, audio through `speech_client`.

Importing this takes about a second: see `provider.ElevenLabsProvider`, which does it in a thread.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
from elevenlabs.core.api_error import ApiError
from elevenlabs.core.client_wrapper import AsyncClientWrapper
from elevenlabs.core.parse_error import ParsingError
from elevenlabs.models.client import AsyncModelsClient
from elevenlabs.types import Model, Voice
from elevenlabs.user.subscription.client import AsyncSubscriptionClient
from elevenlabs.voices.client import AsyncVoicesClient

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.providers.elevenlabs.errors import error_of_answer, failure
from voice_service.providers.elevenlabs.speech_client import KEY_HEADER, SpeechClient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from elevenlabs.core.request_options import RequestOptions

    from voice_service.providers.elevenlabs.config import ElevenLabsConfig

T = TypeVar("T")

_HTTP_PROXIES: Final = ("http://", "https://")


class Upstream:
    """Calls ElevenLabs, never twice for one call, and raises ProviderError alone."""

    def __init__(self, config: ElevenLabsConfig, observe: Callable[[str, str, float], None]) -> None:
        """`observe` is called with endpoint, status and seconds of each call that is no speech."""
        self._observe = observe
        tls, proxy = httpx.create_ssl_context(), _proxy(config.base_url)
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
    """Return those of `values` that are of a kind and have an id; the SDK checks neither."""
    if not isinstance(values, list):
        raise _unreadable()
    found = [value for value in values if isinstance(value, kind) and isinstance(getattr(value, name, None), str)]
    if len(found) < least:
        raise _unreadable()
    return found


def _proxy(url: str) -> str | None:
    """Return the HTTP proxy that the environment names for `url`."""
    where = urlsplit(url)
    if proxy_bypass(where.netloc):
        return None
    named = getproxies()
    proxy = named.get(where.scheme) or named.get("all", "")
    return proxy if proxy.startswith(_HTTP_PROXIES) else None


def _options(key: str) -> RequestOptions:
    # The wait between retries is not the SDK's to choose; and speech it would not retry at all.
    return {"max_retries": 0, "additional_headers": {KEY_HEADER: key}}


def _unreadable() -> ProviderError:
    return failure(ProviderErrorKind.TRANSPORT, "the answer cannot be read")
