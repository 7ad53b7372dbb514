"""Starts, drains and stops the gateway."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol

import grpc
import structlog
from google.protobuf.message import Message

from gateway.door.access import Access
from gateway.door.audit import audit_call, note_ids
from gateway.door.proxy import SERVICES, ForwardingHandler
from gateway.door.servicer import GatewayServicer
from gateway.door.system import System
from gateway.door.web.server import WebServer
from gateway.runs.active import Runs
from gateway.watch.audio import AudioBuffer
from servicekit.app import App, Description
from servicekit.context import RequestContext, bound
from servicekit.ids import new_id
from tale.common.v1 import status_pb2
from tale.gateway.v1 import gateway_pb2, gateway_pb2_grpc

log = structlog.get_logger(__name__)


class Closable(Protocol):
    """A channel, or another connection."""

    async def close(self) -> None:
        """Closes it."""


class GatewayApp(App):
    """Registers the servicer and the proxy, and runs the background loops as long as the server."""

    def __init__(
        self,
        servicer: GatewayServicer,
        proxy: ForwardingHandler,
        access: Access,
        system: System,
        runs: Runs,
        loops: Sequence[Callable[[], Coroutine[None, None, None]]],
        buffer: AudioBuffer,
        connections: Sequence[Closable],
        *,
        web: WebServer | None,
        warnings: list[str],
    ) -> None:
        """`warnings` is what the state of the cluster shows as well; the start may add to it."""
        self._servicer = servicer
        self._proxy = proxy
        self._access = access
        self._system = system
        self._runs = runs
        self._loops = loops
        self._background: list[asyncio.Task[None]] = []
        self._buffer = buffer
        self._connections = connections
        self._web = web
        self._warnings = warnings

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds GatewayService and the forwarded services; returns their names."""
        gateway_pb2_grpc.add_GatewayServiceServicer_to_server(self._servicer, server)
        server.add_generic_rpc_handlers((self._proxy,))
        if self._web is not None:
            self._web.register(server)
        return (gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"].full_name, *SERVICES)

    async def admit(self, method: str, request: Message | bytes | None) -> None:
        """Refuses what the caller may not do."""
        if request is not None:
            note_ids(method, request)
        await self._access.check(method, request)

    def answered(self, method: str, code: str, reason: str | None) -> None:
        """Writes the audit line."""
        audit_call(method, code, reason)

    async def start(self) -> None:
        """Serves the page, logs the warnings and starts the background loops. Does not wait for other services."""
        if self._web is not None and (warning := await self._web.start()):
            self._warnings.append(warning)
        for warning in self._warnings:
            log.warning("set-up warning", warning=warning)
        self._background = [asyncio.create_task(each()) for each in self._loops]

    async def describe(self) -> Description:
        """Returns the warnings; the gateway has no embedded parts."""
        return Description(warnings=self._warnings)

    async def peers(self) -> Sequence[status_pb2.ServiceStatus]:
        """Returns the state of the peer services."""
        with bound(RequestContext(new_id())):
            return await self._system.peers()

    async def begin_drain(self) -> None:
        """Hands all runs over; watchers get RECONNECT."""
        await self._runs.hand_over()

    async def stop(self) -> None:
        """Stops the page and the background loops, and closes the connections."""
        await self._runs.hand_over()
        if self._web is not None:
            await self._web.stop()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._buffer.close()
        for connection in self._connections:
            await connection.close()
