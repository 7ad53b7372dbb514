"""The gateway before services that have circuits, all of them open, and nothing else."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import gateway.bootstrap
from gateway.settings import GatewaySettings
from servicekit.app import App
from servicekit.metrics import Metrics
from servicekit.resilience.manager import BreakerManager
from standins.watcher import gateway_stub
from support.servers import Running, running
from tale.common.v1 import status_pb2
from tale.gateway.v1 import gateway_pb2


class CircuitService(App):
    """A service whose circuits a provider has asked to stay open for a minute."""

    def __init__(self, names: Sequence[str]) -> None:
        self.metrics = Metrics()
        self.breakers = self.circuits = BreakerManager(metrics=self.metrics)
        for name in names:
            self.breakers.get(name).open_until(60)

    def states(self) -> dict[str, str]:
        """State by name."""
        return {snapshot.name: snapshot.state for snapshot in self.breakers.snapshots()}


@dataclass(frozen=True, slots=True)
class CircuitCluster:
    """The gateway's address and stub, and the services behind it by name; `servers` has the gateway too."""

    address: str
    stub: Any
    apps: Mapping[str, CircuitService]
    servers: Mapping[str, Running]

    async def reset(self, name: str, service: str = "") -> status_pb2.CircuitStatus:
        """Calls ResetCircuit."""
        request = gateway_pb2.ResetCircuitRequest(service=service, name=name)
        answer: gateway_pb2.ResetCircuitResponse = await self.stub.ResetCircuit(request, timeout=10)
        return answer.circuit


@asynccontextmanager
async def circuit_cluster(
    *, story: Sequence[str] = (), voice: Sequence[str] = (), storage: Sequence[str] = ()
) -> AsyncIterator[CircuitCluster]:
    """Runs them; each service has the circuits named."""
    apps = {name: CircuitService(own) for name, own in (("story", story), ("voice", voice), ("storage", storage))}
    async with AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(running(app, service=name)) for name, app in apps.items()}
        targets: dict[str, Any] = {f"{name}_target": f"dns:///{server.address}" for name, server in servers.items()}
        settings = GatewaySettings(listen="127.0.0.1:0", ops_listen="127.0.0.1:0", **targets)
        app = gateway.bootstrap.build(settings)
        door = await stack.enter_async_context(running(app, service="gateway", settings=settings))
        yield CircuitCluster(door.address, gateway_stub(door.channel), apps, {**servers, "gateway": door})
