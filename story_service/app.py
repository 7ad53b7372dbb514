"""The story service as servicekit runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from servicekit.app import App, Description
from story_service.models.states import KEY_REFUSED
from story_service.ports import OFFLINE
from tale.common.v1 import status_pb2
from tale.story.v1 import story_pb2, story_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc

    from servicekit.metrics import Metrics
    from servicekit.resilience.manager import BreakerManager
    from story_service.generation.cost_ledger import Generations
    from story_service.models.monitor import ProviderMonitor
    from story_service.wire.servicer import StoryServicer

_log: Final = structlog.stdlib.get_logger("story_service")

OPENROUTER: Final = "openrouter"


class StoryApp(App):
    """Registers the servicer, runs the provider monitor, and describes the service."""

    def __init__(
        self,
        servicer: StoryServicer,
        *,
        default_model: str,
        warnings: Sequence[str],
        monitor: ProviderMonitor | None = None,
        generations: Generations | None = None,
        metrics: Metrics | None = None,
        circuits: BreakerManager | None = None,
    ) -> None:
        """`monitor` is None without a key; `warnings` are logged at start and shown in the status."""
        self.servicer = servicer
        self._default_model = default_model
        self._warnings = tuple(warnings)
        self._monitor = monitor
        self._generations = generations
        self.metrics = metrics
        self.circuits = circuits

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds StoryService."""
        story_pb2_grpc.add_StoryServiceServicer_to_server(self.servicer, server)
        return (story_pb2.DESCRIPTOR.services_by_name["StoryService"].full_name,)

    async def start(self) -> None:
        """Logs the warnings and starts the provider monitor."""
        for warning in self._warnings:
            _log.warning(warning)
        if self._monitor is not None:
            self._monitor.start()

    async def stop(self) -> None:
        """Stops the background tasks and closes the connections."""
        if self._generations is not None:
            await self._generations.aclose()
        if self._monitor is not None:
            await self._monitor.stop()

    async def describe(self) -> Description:
        """Returns embedded parts, providers and warnings."""
        embedded = self._monitor is None or self._default_model == OFFLINE
        refused = self._monitor is not None and self._monitor.key_refused
        return Description(
            embedded_parts=(self._embedded_writer(),) if embedded else (),
            providers=(
                status_pb2.ProviderStatus(
                    name=OPENROUTER,
                    configured=self._monitor is not None,
                    available=self._monitor is not None and not refused,
                    unavailable_reason=self._why_not(refused=refused),
                    is_default=not embedded,
                ),
                status_pb2.ProviderStatus(name=OFFLINE, configured=True, available=True, is_default=embedded),
            ),
            warnings=(*self._warnings, *((KEY_REFUSED,) if refused else ())),
        )

    def _embedded_writer(self) -> status_pb2.EmbeddedPart:
        variables = ("OPENROUTER_API_KEY",) if self._monitor is None else ("STORY_MODEL",)
        return status_pb2.EmbeddedPart(part="writer", implementation=OFFLINE, environment_variables=variables)

    def _why_not(self, *, refused: bool) -> str:
        if self._monitor is None:
            return "OPENROUTER_API_KEY is not set."
        return KEY_REFUSED if refused else ""
