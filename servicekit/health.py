"""grpc.health.v1.Health and reflection of a server."""

import asyncio
from collections.abc import Sequence
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

_OVERALL: Final = ""
_NOTIFICATION_SECONDS: Final = 1.0


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

    async def register(self, server: grpc.aio.Server, services: Sequence[str]) -> None:
        """Adds health and reflection for `services` (full names) to `server`."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        names = (*services, health.SERVICE_NAME)
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
