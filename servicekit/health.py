"""grpc.health.v1.Health and reflection of a server."""

import asyncio
from collections.abc import Sequence
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

_OVERALL: Final = ""
_NOTIFICATION_SECONDS: Final = 1.0


class Health:
    """Health per service and of the whole server (""): NOT_SERVING until said otherwise."""

    def __init__(self) -> None:
        self._servicer = health.aio.HealthServicer()
        self._services: tuple[str, ...] = (_OVERALL,)
        self.serving = False

    async def register(self, server: grpc.aio.Server, services: Sequence[str]) -> None:
        """Adds health and reflection for `services` (full names) to `server`."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        names = (*services, health.SERVICE_NAME)
        reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
        self._services = (_OVERALL, *names)
        await self.set_serving(serving=False)

    async def set_serving(self, *, serving: bool) -> None:
        """Tells all who ask or watch."""
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
