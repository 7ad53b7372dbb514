"""Background work for a provider: loads the SDK, checks the key, refreshes the list of models."""

import asyncio
from typing import Final, Protocol

import structlog

from servicekit.logging import log_defect
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import AuditLog
from story_service.chat import ChatModel
from story_service.models.catalogue import Catalogue

_log: Final = structlog.stdlib.get_logger("story_service.models.monitor")

_TIMEOUT: Final = 20.0
_AFTER_FAILURE: Final = 60.0
"""Seconds until the next check after a failure."""


class Provider(ChatModel, Protocol):
    """Chat models with something to load and to close."""

    async def warm_up(self) -> None:
        """Loads the SDK in a thread."""

    async def aclose(self) -> None:
        """Closes the connections."""


class ProviderMonitor:
    """Monitors the provider in the background, from `start` to `stop`. Its failures stop nothing."""

    def __init__(
        self, provider: Provider, *, catalogue: Catalogue, breakers: BreakerManager, audit: AuditLog, interval: float
    ) -> None:
        """`interval` is the time between two checks, in seconds."""
        self._provider = provider
        self._catalogue = catalogue
        self._protected = {
            name: breakers.protect(
                f"{provider.provider}:{name}", provider=provider.provider, endpoint=name, audit=audit
            )
            for name in ("key", "models")
        }
        self._interval = interval
        self._task: asyncio.Task[None] | None = None
        self.key_refused = False
        """True while the provider is known to refuse the key."""

    def start(self) -> None:
        """Starts."""
        self._task = asyncio.create_task(self._run(), name="provider monitor")

    async def stop(self) -> None:
        """Stops, and closes the connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._provider.aclose()

    async def _run(self) -> None:
        try:
            await self._provider.warm_up()
            while True:
                succeeded = await self._check()
                await asyncio.sleep(self._interval if succeeded else min(self._interval, _AFTER_FAILURE))
        except Exception as error:  # noqa: BLE001 - logged; stories do not depend on it
            log_defect(error)

    async def _check(self) -> bool:
        """Runs one check; returns whether all succeeded."""
        return all([await self._check_key(), await self._refresh()])

    async def _check_key(self) -> bool:
        try:
            await self._protected["key"].run(lambda: self._provider.check_key(timeout=_TIMEOUT))
        except ProviderError as error:
            if error.kind is ProviderErrorKind.AUTH:
                if not self.key_refused:
                    _log.error("the provider refuses the key", provider=self._provider.provider)
                self.key_refused = True
            else:
                _log.warning("the key could not be checked", provider=self._provider.provider, kind=error.kind.value)
            return False
        self.key_refused = False
        return True

    async def _refresh(self) -> bool:
        try:
            answer = await self._protected["models"].run(lambda: self._provider.models(timeout=_TIMEOUT))
        except ProviderError as error:
            _log.warning("the list of models could not be fetched", kind=error.kind.value)
            self._catalogue.refresh_failed()
            return False
        if answer.stale:
            self._catalogue.refresh_failed()
        else:
            self._catalogue.refresh(answer.value)
        return not answer.stale
