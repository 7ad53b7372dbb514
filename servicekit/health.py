"""What a server reports of itself by gRPC: health, reflection, and StatusService with its circuits."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from servicekit.app import App
from servicekit.environment import proxy_warnings
from servicekit.errors import not_found
from servicekit.resilience.breaker import BreakerSnapshot, State
from servicekit.resilience.manager import BreakerManager
from servicekit.version import VERSION
from tale.common.v1 import status_pb2, status_pb2_grpc

NAME: Final = status_pb2.DESCRIPTOR.services_by_name["StatusService"].full_name

_STATES: Final[Mapping[State, status_pb2.CircuitState.ValueType]] = {
    "closed": status_pb2.CIRCUIT_STATE_CLOSED,
    "open": status_pb2.CIRCUIT_STATE_OPEN,
    "half_open": status_pb2.CIRCUIT_STATE_HALF_OPEN,
}
_OVERALL: Final = ""
_NOTIFICATION_SECONDS: Final = 1.0


class StatusServicer(status_pb2_grpc.StatusServiceServicer):
    """Joins what the app reports with what every server knows: name, version, health, times."""

    def __init__(self, app: App, circuits: BreakerManager, service: str, serving: Callable[[], bool]) -> None:
        self._app = app
        self._circuits = circuits
        self._service = service
        self._serving = serving
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
            version=VERSION,
            health=(status_pb2.SERVICE_HEALTH_SERVING if self._serving() else status_pb2.SERVICE_HEALTH_NOT_SERVING),
            embedded_parts=description.embedded_parts,
            providers=description.providers,
            circuits=map(circuit_status, self._circuits.snapshots()),
            warnings=(*description.warnings, *proxy_warnings()),
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
        provider=snapshot.provider,
        ignored_calls=snapshot.ignored_calls,
        rejected_calls=snapshot.rejected_calls,
        slow_calls=snapshot.slow_calls,
        consecutive_failures=snapshot.consecutive_failures,
        success_rate=snapshot.success_rate,
    )
    for target, moment in (
        (message.last_failure_time, snapshot.last_failure_time),
        (message.last_success_time, snapshot.last_success_time),
        (message.retry_time, snapshot.retry_time),
    ):
        if moment is not None:
            target.FromDatetime(moment)
    return message


class _Servicer(health.aio.HealthServicer):
    """The library's, which also counts watchers."""

    def __init__(self) -> None:
        super().__init__()
        self.watchers = 0

    async def Watch(  # noqa: N802 - the contract's name
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse],
    ) -> None:
        """Sends the health and its changes until the watcher goes."""
        self.watchers += 1
        try:
            await super().Watch(request, context)
        finally:
            self.watchers -= 1


class Health:
    """Health per service and of the whole server (""): NOT_SERVING until it is set."""

    def __init__(self) -> None:
        self._servicer = _Servicer()
        self._services: tuple[str, ...] = (_OVERALL,)
        self.serving = False

    @property
    def watched(self) -> bool:
        """Whether the health is being watched, as the channels of peer services do."""
        return self._servicer.watchers > 0

    async def register(self, server: grpc.aio.Server, services: Sequence[str], *, reflected: bool = True) -> None:
        """Adds health and, if `reflected`, reflection for `services` (full names) to `server`."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        names = (*services, health.SERVICE_NAME)
        if reflected:
            reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
        self._services = (_OVERALL, *names)
        await self.set_serving(serving=False)

    async def set_serving(self, *, serving: bool) -> None:
        """Sets the health and notifies watchers."""
        self.serving = serving
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await asyncio.gather(*(self._set(service, status) for service in self._services))

    async def _set(self, service: str, status: int) -> None:
        try:
            # A watcher that does not read holds the library's lock: it must not hold up a drain.
            async with asyncio.timeout(_NOTIFICATION_SECONDS):
                await self._servicer.set(service, status)
        except TimeoutError:
            return
