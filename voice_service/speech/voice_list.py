"""A server's own list of voices, remembered."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.openai_api.failures import told
from voice_service.speech.voices import listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_service.openai_api.client import OpenAIClient
    from voice_service.ports import VoiceInfo

_log: Final = structlog.stdlib.get_logger(__name__)

_TIMEOUT: Final = 3.0
_GOOD_SECONDS: Final = 600.0
_BAD_SECONDS: Final = 60.0


class VoiceList:
    """Asks GET /audio/voices at most every ten minutes, once a minute while it fails; keeps what it knew then.

    Nobody waits for a list that is known already to be fetched anew. Servers without it (404) have none.
    """

    def __init__(self, client: OpenAIClient, *, provider: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._provider = provider
        self._clock = clock
        self._voices: tuple[VoiceInfo, ...] = ()
        self._failure: ProviderError | None = None
        self._asked = False
        self._until = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    @property
    def failure(self) -> ProviderError | None:
        """Why nothing is known of the server's voices; None where something is, and where it has no list."""
        return self._failure

    def refresh(self) -> None:
        """Begin to ask where that is due. Needs a running event loop."""
        if self._clock() >= self._until and self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name=f"voices-of-{self._provider}")

    async def get(self) -> tuple[VoiceInfo, ...]:
        """Return the voices that the server lists, as far as they are known; waits 3 s at most, and once."""
        self.refresh()
        if not self._asked and self._asking is not None:
            await asyncio.shield(self._asking)
        return self._voices

    async def aclose(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self) -> None:
        seconds = _GOOD_SECONDS
        try:
            self._voices = await self._fetch()
            self._failure = None
        except ProviderError as error:
            if error.kind is not ProviderErrorKind.UNSUPPORTED:
                seconds = _BAD_SECONDS
                self._failure = None if self._voices else error
                _log.warning("voices can not be listed", provider=self._provider, kind=error.kind.value)
        finally:
            self._until = self._clock() + seconds
            self._asked = True
            self._asking = None

    async def _fetch(self) -> tuple[VoiceInfo, ...]:
        client = await self._client.get()
        options: Any = {"timeout": _TIMEOUT, "headers": self._client.headers()}
        with told(self._provider):
            try:
                async with asyncio.timeout(_TIMEOUT):
                    return listed(await client.get("/audio/voices", cast_to=object, options=options))
            except TimeoutError:
                raise ProviderError(
                    ProviderErrorKind.TIMEOUT, "the voices did not come in time", provider=self._provider
                ) from None
