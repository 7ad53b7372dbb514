"""Background work for a provider: loads the SDK, checks the key, refreshes the list of models."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import structlog

from servicekit.addresses import is_loopback_host
from servicekit.logging import log_defect
from servicekit.resilience.errors import CircuitOpenError, ProviderError, ProviderErrorKind
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import AuditLog
from story_service.chat import ChatModel, Server
from story_service.errors import default_model_unclear, default_model_unknown
from story_service.models.catalogue import Catalogue
from story_service.models.names import name_of
from story_service.ports import CHAT

_log: Final = structlog.stdlib.get_logger("story_service.models.monitor")

_TIMEOUT: Final = 20.0
_INTERVAL: Final = 300.0
"""Seconds until the next check where the last one succeeded."""
_LONGEST_AGAIN: Final = 60.0
_AGAIN: Final = 2.0
"""Seconds between two checks while a story waits for the first list."""
_AWAY: Final = frozenset({ProviderErrorKind.TRANSPORT, ProviderErrorKind.TIMEOUT, ProviderErrorKind.CONFIGURATION})


def _hint(url: str) -> str:
    host = urlsplit(url).hostname or ""
    if not is_loopback_host(host):
        return ""
    inside = any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
    return f" This is a container: {host} is the container itself, see docs/local.md." if inside else ""


class Provider(ChatModel, Protocol):
    """Chat models with something to load."""

    async def warm_up(self) -> None:
        """Loads the SDK in a thread."""


class ProviderMonitor:
    """Monitors the provider in the background, from `start` to `stop`. Its failures stop nothing."""

    def __init__(
        self,
        provider: Provider,
        *,
        server: Server,
        catalogue: Catalogue,
        breakers: BreakerManager,
        audit: AuditLog,
        wanted: Sequence[str] = (),
        chooses: bool = False,
        again: float = 60.0,
        found: Callable[[Sequence[str]], None] = lambda _: None,
    ) -> None:
        """`wanted` are the ids that settings name; with `chooses` none is the default, and the only model is used.

        A check that failed is made again after `again` seconds, and then ever less often. `found` gets the models that
        a chat server lists.
        """
        self.server: Final = server
        self.catalogue: Final = catalogue
        self._provider = provider
        # The list of a chat server needs its key as well, and is all that can be asked of it.
        self._protected = {
            name: breakers.protect(f"{server.provider}:{name}", provider=server.provider, endpoint=name, audit=audit)
            for name in (("models",) if server.provider == CHAT else ("key", "models"))
        }
        self._wanted = tuple(wanted)
        self._chooses = chooses
        self._again = again
        self._found = found
        self._checking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._error: ProviderError | None = None
        self._checked_at = float("-inf")

    @property
    def trouble(self) -> str:
        """Why the provider cannot be called now, as its last check has shown; "" where it can."""
        error, server = self._error, self.server
        if error is not None and error.kind is ProviderErrorKind.AUTH:
            return f"{server.title} refuses the key in {server.key_variable}."
        if error is None or server.provider != CHAT or error.kind not in _AWAY:
            return ""
        return f"{server.title} does not answer at {server.url}: {error.message}.{_hint(server.url)}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an operator should know of the provider now, one sentence each."""
        found = [self.trouble] if self.trouble else []
        offered = self.catalogue.offered
        if offered is not None and self.server.provider == CHAT:
            missing = [model for model in self._wanted if not self.catalogue.offers(model)]
            found += [f"{self.server.title} does not list the model {model}, which is configured." for model in missing]
            if self._chooses and len(offered) != 1:
                found.append(default_model_unclear(offered).message)
        return tuple(found)

    @property
    def only_model(self) -> str:
        """The default where no setting names one: the model of a server that has one; "" while it is not known."""
        offered = self.catalogue.offered or ()
        return name_of(CHAT, offered[0]) if self._chooses and len(offered) == 1 else ""

    async def default_model(self, within: float) -> str:
        """Returns `only_model`; waits up to `within` seconds for the first list.

        Raises INVALID_CONFIGURATION where the server has none or several, and that of the server where it fails.
        """
        try:
            offered = await self.listed(within)
        except ProviderError as error:
            raise default_model_unknown(error) from None
        if len(offered) != 1:
            # One may have been loaded or removed since.
            await self._check_now()
            offered = self.catalogue.offered or ()
        if len(offered) != 1:
            raise default_model_unclear(offered)
        return self.only_model

    def start(self) -> None:
        """Starts."""
        self._task = asyncio.create_task(self._run(), name=f"monitor of {self.server.provider}")

    async def stop(self) -> None:
        """Stops, and closes the connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._provider.aclose()

    async def listed(self, within: float) -> tuple[str, ...]:
        """Returns the models that the provider lists; waits up to `within` seconds for its first list.

        Raises ProviderError where there is none by then, and at once where the provider has none or refuses the key.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + within
        while (offered := self.catalogue.offered) is None:
            await self._check_now()
            if self._error is not None and (not self._error.retryable or clock() + _AGAIN >= end):
                raise self._error
            if self.catalogue.offered is None:
                await asyncio.sleep(_AGAIN)
        return offered

    async def _run(self) -> None:
        try:
            await self._provider.warm_up()
            again = self._again
            while True:
                async with self._checking:
                    succeeded = await self._check()
                await asyncio.sleep(_INTERVAL if succeeded else again)
                again = self._again if succeeded else min(2 * again, _LONGEST_AGAIN)
        except Exception as error:  # noqa: BLE001 - logged; stories do not depend on it
            log_defect(error)

    async def _check_now(self) -> None:
        """Runs a check, unless one has just ended."""
        async with self._checking:
            if asyncio.get_running_loop().time() >= self._checked_at + _AGAIN:
                await self._check()

    async def _check(self) -> bool:
        """Runs one check; returns whether nothing is left to wait for."""
        before = self.warnings
        errors = [error for error in (await self._check_key(), await self._refresh()) if error is not None]
        if not any(isinstance(error, CircuitOpenError) for error in errors):
            # That of an open circuit says less than the one before it.
            self._error = errors[0] if errors else None
        self._checked_at = asyncio.get_running_loop().time()
        for warning in self.warnings:
            if warning not in before:
                _log.warning("set-up warning", provider=self.server.provider, warning=warning)
        return not errors and not self.catalogue.stale and bool(self.only_model or not self._chooses)

    async def _check_key(self) -> ProviderError | None:
        if "key" not in self._protected:
            return None
        try:
            await self._protected["key"].run(lambda: self._provider.check_key(timeout=_TIMEOUT))
        except ProviderError as error:
            if error.kind is not ProviderErrorKind.AUTH:
                _log.warning("key not checked", provider=self.server.provider, kind=error.kind.value)
            return error
        return None

    async def _refresh(self) -> ProviderError | None:
        try:
            answer = await self._protected["models"].run(lambda: self._provider.models(timeout=_TIMEOUT))
        except ProviderError as error:
            _log.warning("models not listed", provider=self.server.provider, kind=error.kind.value)
            self.catalogue.refresh_failed()
            return error
        if answer.stale:
            self.catalogue.refresh_failed()
        else:
            self.catalogue.refresh(answer.value)
            if self.server.provider == CHAT:
                self._found(self.catalogue.offered or ())
        return None
