"""tale.common.v1.StatusService: what a server says of itself."""

import time
from collections.abc import Callable
from typing import Any, Final

import grpc

from servicekit.app import App
from servicekit.errors import FieldViolation, validation_failed
from servicekit.version import VERSION
from tale.common.v1 import status_pb2, status_pb2_grpc

NAME: Final = status_pb2.DESCRIPTOR.services_by_name["StatusService"].full_name


class StatusServicer(status_pb2_grpc.StatusServiceServicer):
    """Asks the app and adds what every server knows: name, version, health, times."""

    def __init__(self, app: App, service: str, serving: Callable[[], bool]) -> None:
        self._app = app
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
        circuits = self._app.circuits
        status = status_pb2.ServiceStatus(
            service=self._service,
            version=self._version,
            health=(status_pb2.SERVICE_HEALTH_SERVING if self._serving() else status_pb2.SERVICE_HEALTH_NOT_SERVING),
            embedded_parts=description.embedded_parts,
            providers=description.providers,
            circuits=[*description.circuits, *(circuits.statuses() if circuits is not None else ())],
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
        if not request.name:
            raise validation_failed([FieldViolation("name", "must be given")])
        return status_pb2.ResetCircuitResponse(circuit=await self._app.reset_circuit(request.name))
