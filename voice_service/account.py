"""Watches what the plans of providers have left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from servicekit.resilience.errors import ProviderError
from voice_service.ports import Metered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_service.metrics import VoiceMetrics
    from voice_service.ports import VoiceProvider

_log: Final = structlog.stdlib.get_logger(__name__)

_TIMEOUT: Final = 10.0


class AccountWatch:
    """Asks each provider that tells, every `interval` seconds; nobody waits for the answer."""

    def __init__(self, providers: Sequence[VoiceProvider], metrics: VoiceMetrics, interval: float) -> None:
        self._providers = [each for each in providers if isinstance(each, Metered)]
        self._names = [each.metadata.name for each in providers if isinstance(each, Metered)]
        self._metrics = metrics
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, where there is anybody to ask."""
        if self._providers:
            self._task = asyncio.create_task(self._watch(), name="account watch")

    async def aclose(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        while True:
            for name, provider in zip(self._names, self._providers, strict=True):
                await self._ask(name, provider)
            await asyncio.sleep(self._interval)

    async def _ask(self, name: str, provider: Metered) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                self._metrics.remaining(name, await provider.remaining_characters())
        except (ProviderError, TimeoutError) as error:
            kind = error.kind.value if isinstance(error, ProviderError) else "timeout"
            _log.info("what the plan has left is not known", provider=name, kind=kind)
