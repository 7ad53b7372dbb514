"""How the cluster is: every service asked at the same time, none waited for long."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.channel import call_metadata
from servicekit.status_service import package_version
from tale.common.v1 import status_pb2, status_pb2_grpc
from tale.gateway.v1 import gateway_pb2

ASK_SECONDS: Final = 2.0


class System:
    """Asks the siblings how they are."""

    def __init__(self, siblings: Mapping[str, grpc.aio.Channel]) -> None:
        """`siblings` maps the names of services to their channels."""
        self._stubs: dict[str, Any] = {
            name: status_pb2_grpc.StatusServiceStub(channel) for name, channel in siblings.items()
        }
        self._start_time = Timestamp()
        self._start_time.GetCurrentTime()
        self._started = time.monotonic()

    async def status(self, *, running_stories: int) -> gateway_pb2.GetSystemStatusResponse:
        """The state of all services. One that does not answer is UNREACHABLE; that is no error of this call."""
        told = await asyncio.gather(*(self._ask(name, stub) for name, stub in self._stubs.items()))
        services = [self._gateway(), *told]
        return gateway_pb2.GetSystemStatusResponse(
            healthy=all(service.health == status_pb2.SERVICE_HEALTH_SERVING for service in services),
            services=services,
            embedded_parts=[part for service in services for part in service.embedded_parts],
            running_stories=running_stories,
        )

    async def _ask(self, name: str, stub: Any) -> status_pb2.ServiceStatus:
        try:
            answer: status_pb2.GetStatusResponse = await stub.GetStatus(
                status_pb2.GetStatusRequest(), timeout=ASK_SECONDS, metadata=call_metadata()
            )
        except grpc.aio.AioRpcError as error:
            warning = f"The {name} service did not answer ({error.code().name})."
            return status_pb2.ServiceStatus(
                service=name, health=status_pb2.SERVICE_HEALTH_UNREACHABLE, warnings=[warning]
            )
        return answer.status

    def _gateway(self) -> status_pb2.ServiceStatus:
        status = status_pb2.ServiceStatus(
            service="gateway",
            version=package_version(),
            health=status_pb2.SERVICE_HEALTH_SERVING,
            start_time=self._start_time,
        )
        status.uptime.FromNanoseconds(int((time.monotonic() - self._started) * 1e9))
        return status
