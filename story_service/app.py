"""The story service as servicekit runs it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from servicekit.app import App, Description
from story_service.models.names import VARIABLES, provider_of
from story_service.ports import CHAT, OFFLINE
from tale.common.v1 import status_pb2
from tale.story.v1 import story_pb2, story_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import grpc

    from servicekit.metrics import Metrics
    from servicekit.resilience.manager import BreakerManager
    from story_service.generation.cost_ledger import Generations
    from story_service.models.monitor import Provider, ProviderMonitor
    from story_service.wire.servicer import StoryServicer

_log: Final = structlog.stdlib.get_logger("story_service")


class StoryApp(App):
    """Registers the servicer, runs the monitors of the providers, and describes the service."""

    def __init__(
        self,
        servicer: StoryServicer,
        *,
        default_model: Callable[[], str],
        warnings: Sequence[str],
        monitors: Sequence[ProviderMonitor] = (),
        generations: Generations | None = None,
        safety_server: Provider | None = None,
        metrics: Metrics | None = None,
        circuits: BreakerManager | None = None,
    ) -> None:
        """`monitors` are those of the configured providers; `warnings` are logged at start and shown in the status.

        `safety_server` is one that only the safety check uses.

        `default_model` returns the default model, "" while it is not known.
        """
        self.servicer = servicer
        self._default_model = default_model
        self._warnings = tuple(warnings)
        self._monitors = {monitor.server.provider: monitor for monitor in monitors}
        self._generations = generations
        self._safety_server = safety_server
        self._warming: asyncio.Task[None] | None = None
        self.metrics = metrics
        self.circuits = circuits

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds StoryService."""
        story_pb2_grpc.add_StoryServiceServicer_to_server(self.servicer, server)
        return (story_pb2.DESCRIPTOR.services_by_name["StoryService"].full_name,)

    async def start(self) -> None:
        """Logs the warnings and starts the provider monitor."""
        for warning in self._warnings:
            _log.warning("set-up warning", warning=warning)
        for monitor in self._monitors.values():
            monitor.start()
        if self._safety_server is not None:
            self._warming = asyncio.create_task(self._safety_server.warm_up(), name="safety check")

    async def stop(self) -> None:
        """Stops the background tasks and closes the connections."""
        if self._generations is not None:
            await self._generations.aclose()
        for monitor in self._monitors.values():
            await monitor.stop()
        if self._safety_server is not None and self._warming is not None:
            await asyncio.gather(self._warming, return_exceptions=True)
            await self._safety_server.aclose()

    async def describe(self) -> Description:
        """Returns embedded parts, providers and warnings."""
        model = self._default_model()
        # Only the chat server's default may be unknown.
        default = OFFLINE if not self._monitors else provider_of(model) if model else CHAT
        return Description(
            embedded_parts=(self._embedded_writer(),) if default == OFFLINE else (),
            providers=(
                *(self._provider(name, variable, is_default=name == default) for name, variable in VARIABLES.items()),
                status_pb2.ProviderStatus(name=OFFLINE, configured=True, available=True, is_default=default == OFFLINE),
            ),
            warnings=(*self._warnings, *(warning for each in self._monitors.values() for warning in each.warnings)),
        )

    def _provider(self, name: str, variable: str, *, is_default: bool) -> status_pb2.ProviderStatus:
        monitor = self._monitors.get(name)
        if monitor is None:
            return status_pb2.ProviderStatus(name=name, unavailable_reason=f"{variable} is not set.")
        return status_pb2.ProviderStatus(
            name=name,
            configured=True,
            available=not monitor.trouble,
            unavailable_reason=monitor.trouble,
            is_default=is_default,
            address=monitor.server.url,
        )

    def _embedded_writer(self) -> status_pb2.EmbeddedPart:
        variables = ("STORY_MODEL",) if self._monitors else tuple(VARIABLES.values())
        return status_pb2.EmbeddedPart(part="writer", implementation=OFFLINE, environment_variables=variables)
