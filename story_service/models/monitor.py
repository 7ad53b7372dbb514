"""What is done beside the writing: loading the SDK, asking about the key, keeping the list of models fresh."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import structlog

from servicekit.defects import log_defect
from servicekit.resilience.audit import AuditLog
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.manager import BreakerManager
from story_service.chat import ChatModel
from story_service.models.catalogue import Catalogue

_log: Final = structlog.stdlib.get_logger("story_service.models.monitor")

_TIMEOUT: Final = 20.0
_SOONER: Final = 60.0
"""After a failure the next look comes sooner than usual, in seconds."""

T = TypeVar("T")


class Provider(ChatModel, Protocol):
    """Chat models with something to load and to close."""

    async def warm_up(self) -> None:
        """Load what takes long, without holding up the event loop."""

    async def aclose(self) -> None:
        """Close the connections."""


class ProviderMonitor:
    """Looks after the provider in the background, from `start` to `stop`. Nothing waits for it, nothing stops it."""

    def __init__(
        self, provider: Provider, *, catalogue: Catalogue, breakers: BreakerManager, audit: AuditLog, interval: float
    ) -> None:
        """`interval` lies between two looks, in seconds."""
        self._provider = provider
        self._catalogue = catalogue
        self._protected = {
            name: breakers.protect(f"{provider.provider}:{name}", provider=provider.provider)
            for name in ("key", "models")
        }
        self._audit = audit
        self._interval = interval
        self._task: asyncio.Task[None] | None = None
        self.key_refused = False
        """True while the provider is known to refuse the key."""

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="story upkeep")

    async def stop(self) -> None:
        """End, and close the connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._provider.aclose()

    async def _run(self) -> None:
        try:
            await self._provider.warm_up()
            while True:
                well = await self._look()
                await asyncio.sleep(self._interval if well else min(self._interval, _SOONER))
        except Exception as error:  # noqa: BLE001 - stories go on without it, and the operator learns of it
            log_defect(error)

    async def _look(self) -> bool:
        """One round; True where all is well."""
        return all([await self._check_key(), await self._refresh()])

    async def _check_key(self) -> bool:
        try:
            await self._asked("key", lambda: self._provider.check_key(timeout=_TIMEOUT))
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
            answer = await self._protected["models"].run(
                lambda: self._audited("models", lambda: self._provider.models(timeout=_TIMEOUT))
            )
        except ProviderError as error:
            _log.warning("the list of models could not be fetched", kind=error.kind.value)
            self._catalogue.refresh_failed()
            return False
        if answer.stale:
            self._catalogue.refresh_failed()
        else:
            self._catalogue.refresh(answer.value)
        return not answer.stale

    async def _asked(self, endpoint: str, call: Callable[[], Awaitable[T]]) -> T:
        return (await self._protected[endpoint].run(lambda: self._audited(endpoint, call))).value

    async def _audited(self, endpoint: str, call: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        began = loop.time()
        told: int | str = 200
        try:
            return await call()
        except ProviderError as error:
            told = error.status or error.kind.name
            raise
        finally:
            self._audit.record(self._provider.provider, endpoint, told, loop.time() - began)
