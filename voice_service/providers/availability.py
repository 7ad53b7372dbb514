"""Whether a provider can be called, remembered for a while, and its voices, both with a deadline."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from voice_service.ports import VoiceInfo, VoiceProvider

NO_ANSWER: Final = "it does not answer"
"""Why a provider can not be called that did not say in time whether it can be."""
_TIMEOUT: Final = 10.0
_GOOD_SECONDS: Final = 60.0
_BAD_SECONDS: Final = 5.0


class Availability:
    """Asks a provider at most once a minute whether it is set up, and one that is not every five seconds."""

    def __init__(self, provider: VoiceProvider, clock: Callable[[], float] = time.monotonic) -> None:
        self._provider = provider
        self._clock = clock
        self._lock = asyncio.Lock()
        self._reason = ""
        self._until = float("-inf")

    async def reason(self) -> str:
        """Why the provider can not be called; "" where it can."""
        async with self._lock:
            if self._clock() >= self._until:
                self._reason = await self._ask()
                self._until = self._clock() + (_BAD_SECONDS if self._reason else _GOOD_SECONDS)
            return self._reason

    async def _ask(self) -> str:
        try:
            async with asyncio.timeout(_TIMEOUT):
                return await self._provider.validate_configuration()
        except TimeoutError:
            return NO_ANSWER


async def voices_of(
    provider: VoiceProvider, language_code: str | None = None, *, within: float = _TIMEOUT
) -> Sequence[VoiceInfo]:
    """List the voices of a provider. Raises ProviderError, TIMEOUT after `within` seconds."""
    async with _in_time(provider, within):
        return await provider.list_voices(language_code)


async def knows_voice(provider: VoiceProvider, voice_id: str, language_code: str, *, within: float = _TIMEOUT) -> bool:
    """Tell whether a provider has a voice for a language. Raises ProviderError, TIMEOUT after `within` seconds."""
    async with _in_time(provider, within):
        return await provider.knows_voice(voice_id, language_code)


@asynccontextmanager
async def _in_time(provider: VoiceProvider, seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        name = provider.metadata.name
        raise ProviderError(ProviderErrorKind.TIMEOUT, "the voices did not come in time", provider=name) from None
