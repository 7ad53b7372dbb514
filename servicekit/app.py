"""What a service gives to the kit that runs it.

Every server has /metrics and /metrics/circuit-breakers on the operators' port. A service that counts things of its own
or calls providers makes the objects in its bootstrap and gives them to its app::

    metrics = Metrics()
    circuits = BreakerManager(config_of, metrics=metrics)
    ...
    self.metrics, self.circuits = metrics, circuits      # in the app's __init__

Then StatusService reports and resets the circuits too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc
    from google.protobuf.message import Message

    from servicekit.authentication import Authenticator
    from servicekit.metrics import Metrics
    from servicekit.resilience.manager import BreakerManager
    from servicekit.runner import Limit
    from servicekit.tracing import Tracer
    from tale.common.v1 import status_pb2


@dataclass(frozen=True, slots=True)
class Description:
    """What a service reports in StatusService.GetStatus beside what the kit knows."""

    embedded_parts: Sequence[status_pb2.EmbeddedPart] = ()
    providers: Sequence[status_pb2.ProviderStatus] = ()
    warnings: Sequence[str] = ()


class App:
    """A service as the kit runs it. A service overrides or sets what it needs.

    The methods are called in the order in which they stand here.
    """

    metrics: Metrics | None = None
    """What it counts; None: the server makes the object for what every server counts. Read once, at first."""
    circuits: BreakerManager | None = None
    """Its circuit breakers, if it has any. Read once, at first."""
    authenticator: Authenticator | None = None
    """Finds for whom calls are made; None: callers are services of the cluster. Read once, at first."""
    limit: Limit | None = None
    """Refuses callers that call too often, by their names; None: no one. Read once, at first."""
    credentials: grpc.ServerCredentials | None = None
    """TLS of its port; None: plain text. Read once, at the start."""
    tracer: Tracer | None = None
    """What makes its traces; None: what the environment says (OTEL_*). Read once, at first."""
    sound: bool = True
    """False once only a person can repair what it needs. It takes calls and answers them with what is wrong, and is
    NOT_SERVING to operators (`/readyz`, StatusService)."""

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds the servicers and returns the full names of their services, for health and reflection."""
        del server
        return ()

    async def admit(self, method: str, request: Message | bytes | None) -> None:
        """Raises DomainError where the caller may not send this: a message, or bytes that are only passed on.

        Called once the caller is known and the request valid; for a stream with None, before it is read.
        """

    def answered(self, method: str, code: str, reason: str | None) -> None:
        """Is called within the context of each call but health checks, after its end."""

    async def start(self) -> None:
        """Opens what the service needs. The port is bound; calls wait until this returns."""

    async def describe(self) -> Description:
        """Returns what StatusService reports of this service now."""
        return Description()

    async def peers(self) -> Sequence[status_pb2.ServiceStatus]:
        """Returns the status of other services, whose circuit breakers operators see with the own ones.

        Returns within a few seconds; one that does not answer is UNREACHABLE.
        """
        return ()

    async def begin_drain(self) -> None:
        """Takes no more work and ends the streams, since the server is shutting down. Returns soon."""

    async def stop(self) -> None:
        """Closes what `start` opened. The calls in flight have ended. Also called when `start` failed."""
