"""tale.common.v1.StatusService: name, version, health and circuits of a server."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc

from servicekit.app import App
from servicekit.errors import not_found
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.snapshot import BreakerSnapshot, State
from servicekit.version import VERSION
from tale.common.v1 import status_pb2, status_pb2_grpc

NAME: Final = status_pb2.DESCRIPTOR.services_by_name["StatusService"].full_name


_STATES: Final[Mapping[State, status_pb2.CircuitState.ValueType]] = {
    "closed": status_pb2.CIRCUIT_STATE_CLOSED,
    "open": status_pb2.CIRCUIT_STATE_OPEN,
    "half_open": status_pb2.CIRCUIT_STATE_HALF_OPEN,
}


class StatusServicer(status_pb2_grpc.StatusServiceServicer):
    """Joins what the app reports with what every server knows: name, version, health, times."""

    def __init__(self, app: App, circuits: BreakerManager, service: str, serving: Callable[[], bool]) -> None:
        self._app = app
        self._circuits = circuits
        self._service = service
        self._serving = serving
        self._version = VERSION
        self._began = time.monotonic()
        self._start_time_ns = time.time_ns()

    async def GetStatus(  # noqa: N802 - the contract's name
        self,
        request: status_pb2.GetStatusRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> status_pb2.GetStatusResponse:
        """Describes this server."""
        del request, context
        description = await self._app.describe()
        status = status_pb2.ServiceStatus(
            service=self._service,
            version=self._version,
            health=(status_pb2.SERVICE_HEALTH_SERVING if self._serving() else status_pb2.SERVICE_HEALTH_NOT_SERVING),
            embedded_parts=description.embedded_parts,
            providers=description.providers,
            circuits=map(circuit_status, self._circuits.snapshots()),
            warnings=description.warnings,
        )
        status.start_time.FromNanoseconds(self._start_time_ns)
        status.uptime.FromNanoseconds(int((time.monotonic() - self._began) * 1e9))
        return status_pb2.GetStatusResponse(status=status)

    async def ResetCircuit(  # noqa: N802 - the contract's name
        self,
        request: status_pb2.ResetCircuitRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> status_pb2.ResetCircuitResponse:
        """Closes a circuit by hand; NOT_FOUND / CIRCUIT_NOT_FOUND."""
        del context
        try:
            snapshot = self._circuits.reset(request.name)
        except KeyError:
            raise not_found("CIRCUIT_NOT_FOUND", "This service has no circuit of that name.") from None
        return status_pb2.ResetCircuitResponse(circuit=circuit_status(snapshot))


def circuit_status(snapshot: BreakerSnapshot) -> status_pb2.CircuitStatus:
    """Returns a circuit breaker as the message of StatusService."""
    message = status_pb2.CircuitStatus(
        name=snapshot.name,
        state=_STATES[snapshot.state],
        total_calls=snapshot.total_calls,
        successful_calls=snapshot.successful_calls,
        failed_calls=snapshot.failed_calls,
        fallback_calls=snapshot.fallback_calls,
        state_changes=snapshot.state_changes,
    )
    for target, moment in (
        (message.last_failure_time, snapshot.last_failure_time),
        (message.last_success_time, snapshot.last_success_time),
        (message.retry_time, snapshot.retry_time),
    ):
        if moment is not None:
            target.FromDatetime(moment)
    return message
