"""Circuit breakers of a service with several replicas."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest
from support.circuit_services import CircuitService
from support.servers import running

import gateway.door.system
from gateway.door.system import System
from servicekit.channel import PeerChannel, open_channel
from servicekit.context import Caller, RequestContext, bind
from servicekit.errors import DomainError
from tale.common.v1 import status_pb2


@asynccontextmanager
async def replicas(*circuits: Sequence[str], silent: int = 0) -> AsyncIterator[tuple[System, list[CircuitService]]]:
    """Replicas of the story service, one per set of open circuits, and addresses without a server."""
    apps = [CircuitService(names) for names in circuits]
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(running(app, service="story")) for app in apps]
        target = "ipv4:" + ",".join([*(server.address for server in servers), *["127.0.0.1:1"] * silent])
        channel = open_channel(target, health_checked=False)
        stack.push_async_callback(channel.close)
        bind(RequestContext("request", Caller("owner")))
        yield System({"story": PeerChannel(channel)}, targets={"story": target}), apps


@pytest.mark.parametrize("service", ["", "story"])
@pytest.mark.parametrize("circuits", [(["model"], []), ([], ["model"]), (["model"], ["model"])])
async def test_circuit_is_reset_in_all_replicas(circuits: Sequence[Sequence[str]], service: str) -> None:
    """Each time, whichever replica a balanced call would reach; an address without a server does not matter."""
    async with replicas(*circuits, silent=1) as (system, apps):
        for _ in range(4):
            circuit = await system.reset_circuit(service, "model", timeout=10)
            assert status_pb2.CIRCUIT_STATE_CLOSED == circuit.state
        assert [{"model": "closed"} if names else {} for names in circuits] == [app.states() for app in apps]


async def test_circuit_that_no_replica_has_is_not_found() -> None:
    """All of them were called."""
    async with replicas(["model"], ["model"]) as (system, _):
        with pytest.raises(DomainError) as caught:
            await system.reset_circuit("story", "other", timeout=10)

    assert "CIRCUIT_NOT_FOUND" == caught.value.reason


async def test_status_has_each_circuit_once_in_its_worst_state() -> None:
    """One entry for the service, with the circuits of all replicas."""
    async with replicas(["both", "one"], ["both", "two"]) as (system, apps):
        apps[0].breakers.reset("both")
        apps[1].breakers.reset("two")
        told = await system.status(running_stories=0)

    assert ["gateway", "story"] == [each.service for each in told.services]
    assert [
        ("both", status_pb2.CIRCUIT_STATE_OPEN),
        ("one", status_pb2.CIRCUIT_STATE_OPEN),
        ("two", status_pb2.CIRCUIT_STATE_CLOSED),
    ] == [(each.name, each.state) for each in told.services[1].circuits]


async def test_names_are_resolved_to_addresses() -> None:
    """Targets that only gRPC can resolve have none, and neither has an unknown name."""
    assert ["ipv4:127.0.0.1:50052"] == await gateway.door.system.addresses("dns:///127.0.0.1:50052")
    assert ["ipv6:[::1]:50052"] == await gateway.door.system.addresses("dns:///[::1]:50052")
    for target in ("", "story:50052", "unix:/tmp/story", "dns:///story", "dns:///name.invalid:1", "dns:///host:99999x"):
        assert [] == await gateway.door.system.addresses(target)


async def test_reset_reports_that_no_replica_responds() -> None:
    """As the transport says it."""
    async with replicas(silent=2) as (system, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await system.reset_circuit("story", "model", timeout=10)

    assert grpc.StatusCode.UNAVAILABLE is caught.value.code()
