"""The gateway as the kit runs it."""

from collections.abc import Sequence

import grpc

from gateway.forgetting import Forgetting
from gateway.proxy import SERVICES, ForwardingHandler
from gateway.runs import Runs
from gateway.servicer import GatewayServicer
from servicekit.app import AppBase, Description
from tale.gateway.v1 import gateway_pb2, gateway_pb2_grpc


class GatewayApp(AppBase):
    """Registers the servicer and the proxy, and ties the runs to the life of the server."""

    def __init__(
        self,
        servicer: GatewayServicer,
        proxy: ForwardingHandler,
        runs: Runs,
        forgetting: Forgetting,
        channels: Sequence[grpc.aio.Channel],
        *,
        warnings: Sequence[str],
    ) -> None:
        self._servicer = servicer
        self._proxy = proxy
        self._runs = runs
        self._forgetting = forgetting
        self._channels = channels
        self._warnings = tuple(warnings)

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds GatewayService and the forwarded services."""
        gateway_pb2_grpc.add_GatewayServiceServicer_to_server(self._servicer, server)
        server.add_generic_rpc_handlers((self._proxy,))
        return (gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"].full_name, *SERVICES)

    async def start(self) -> None:
        """Begins to look for stories that nobody makes and for what is to be forgotten. Siblings are not waited for."""
        self._runs.begin()
        self._forgetting.begin()

    async def describe(self) -> Description:
        """Nothing is embedded here."""
        return Description(warnings=self._warnings)

    async def begin_drain(self) -> None:
        """Hands all runs over; their watchers are told to reconnect."""
        await self._runs.hand_over()

    async def stop(self) -> None:
        """Ends the look-out and closes the channels."""
        await self._runs.hand_over()
        await self._runs.end()
        await self._forgetting.end()
        for channel in self._channels:
            await channel.close()
