"""What a service tells the kit about itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc

from servicekit.errors import not_found
from tale.common.v1 import status_pb2


@dataclass(frozen=True, slots=True)
class Description:
    """What a service says of itself in StatusService.GetStatus, beside what the kit knows."""

    embedded_parts: Sequence[status_pb2.EmbeddedPart] = ()
    providers: Sequence[status_pb2.ProviderStatus] = ()
    circuits: Sequence[status_pb2.CircuitStatus] = ()
    warnings: Sequence[str] = ()


class App(Protocol):
    """A service as the kit runs it. The methods are called in the order in which they stand here."""

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds the servicers and returns the full names of their services, for health and reflection."""

    async def start(self) -> None:
        """Opens what the service needs. The port is bound; calls wait until this returns."""

    async def describe(self) -> Description:
        """What StatusService tells of this service, now."""

    async def reset_circuit(self, name: str) -> status_pb2.CircuitStatus:
        """Closes a circuit breaker by hand; NOT_FOUND / CIRCUIT_NOT_FOUND."""

    async def begin_drain(self) -> None:
        """The server is going down: take no more work, see to it that streams end. Returns soon."""

    async def stop(self) -> None:
        """Closes what `start` opened. The calls in flight have ended. Also called when `start` failed."""


class AppBase:
    """An App that needs nothing; services override what they need."""

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """No services."""
        del server
        return ()

    async def start(self) -> None:
        """Nothing to open."""

    async def describe(self) -> Description:
        """Nothing to tell."""
        return Description()

    async def reset_circuit(self, name: str) -> status_pb2.CircuitStatus:
        """No circuits."""
        del name
        raise not_found("CIRCUIT_NOT_FOUND", "This service has no circuit of that name; GetStatus lists them.")

    async def begin_drain(self) -> None:
        """Nothing to end."""

    async def stop(self) -> None:
        """Nothing to close."""
