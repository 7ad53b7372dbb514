"""Operators see and reset the circuits of every service at the gateway."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.servers import Running, running
from support.tale_command import tale
from support.watcher import gateway_stub

import gateway.bootstrap
from gateway.settings import GatewaySettings
from servicekit.app import AppBase
from servicekit.authentication import Anonymous, Security
from servicekit.resilience.manager import BreakerManager
from servicekit.status import from_rpc_error
from tale.common.v1 import status_pb2
from tale.gateway.v1 import gateway_pb2

OPEN, CLOSED = status_pb2.CIRCUIT_STATE_OPEN, status_pb2.CIRCUIT_STATE_CLOSED


class Sibling(AppBase):
    """A service that has circuits, all of them open, and nothing else."""

    def __init__(self, *names: str) -> None:
        self.breakers = self.circuits = BreakerManager()
        for name in names:
            self.breakers.get(name).open_until(60)

    def states(self) -> dict[str, str]:
        """State by name."""
        return {snapshot.name: snapshot.state for snapshot in self.breakers.snapshots()}


@dataclass(frozen=True, slots=True)
class Siblings:
    """The gateway before services that have nothing but circuits."""

    address: str
    stub: Any
    apps: Mapping[str, Sibling]
    servers: Mapping[str, Running]

    async def reset(self, name: str, service: str = "") -> status_pb2.CircuitStatus:
        """Calls ResetCircuit."""
        request = gateway_pb2.ResetCircuitRequest(service=service, name=name)
        answer: gateway_pb2.ResetCircuitResponse = await self.stub.ResetCircuit(request, timeout=10)
        return answer.circuit

    async def refused(self, name: str, service: str = "") -> tuple[grpc.StatusCode, str, str]:
        """Code, reason and text of a ResetCircuit that fails."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.reset(name, service)
        error = from_rpc_error(caught.value)
        return error.code, error.reason, error.message


@asynccontextmanager
async def siblings(folder: Path) -> AsyncIterator[Siblings]:
    """Story has the circuits "models" and "shared", voice "speech" and "shared", storage none."""
    apps = {"story": Sibling("models", "shared"), "voice": Sibling("speech", "shared"), "storage": Sibling()}
    async with AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(running(app, service=name)) for name, app in apps.items()}
        targets: dict[str, Any] = {f"{name}_target": f"dns:///{server.address}" for name, server in servers.items()}
        settings = GatewaySettings(listen="127.0.0.1:0", ops_listen="127.0.0.1:0", data_dir=folder, **targets)
        app = gateway.bootstrap.build(settings)
        door = await stack.enter_async_context(
            running(app, service="gateway", settings=settings, security=Security(Anonymous()))
        )
        yield Siblings(door.address, gateway_stub(door.channel), apps, servers)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Siblings]:
    """The gateway and its siblings."""
    async with siblings(tmp_path) as it:
        yield it


async def test_the_status_of_the_cluster_has_every_circuit(cluster: Siblings) -> None:
    """Under the service that has it."""
    status = await cluster.stub.GetSystemStatus(gateway_pb2.GetSystemStatusRequest(), timeout=10)

    assert {"gateway": [], "story": ["models", "shared"], "voice": ["shared", "speech"], "storage": []} == {
        service.service: [circuit.name for circuit in service.circuits] for service in status.services
    }


async def test_a_circuit_is_found_by_its_name(cluster: Siblings) -> None:
    """And closed; the others stay as they are."""
    circuit = await cluster.reset("speech")

    assert ("speech", CLOSED, 2) == (circuit.name, circuit.state, circuit.state_changes)
    assert {"speech": "closed", "shared": "open"} == cluster.apps["voice"].states()
    assert {"models": "open", "shared": "open"} == cluster.apps["story"].states()


async def test_a_circuit_of_a_service_that_is_named(cluster: Siblings) -> None:
    """Where several have one of the name the service tells them apart."""
    assert CLOSED == (await cluster.reset("shared", "voice")).state
    assert ("closed", "open") == (cluster.apps["voice"].states()["shared"], cluster.apps["story"].states()["shared"])


async def test_a_name_that_several_have_is_not_enough(cluster: Siblings) -> None:
    """Nothing is reset, and the answer says whose it could be."""
    assert (
        grpc.StatusCode.INVALID_ARGUMENT,
        "VALIDATION_FAILED",
        "service must be given: story, voice have a circuit of that name",
    ) == await cluster.refused("shared")
    assert "open" == cluster.apps["voice"].states()["shared"]


@pytest.mark.parametrize("service", ["", "story", "storage"])
async def test_an_unknown_circuit_is_not_found(cluster: Siblings, service: str) -> None:
    """With and without a service."""
    code, reason, _ = await cluster.refused("speech2", service)

    assert (grpc.StatusCode.NOT_FOUND, "CIRCUIT_NOT_FOUND") == (code, reason)


async def test_what_is_wrong_with_a_request_is_told(cluster: Siblings) -> None:
    """Both fields."""
    code, _, message = await cluster.refused("", "gatway")

    assert grpc.StatusCode.INVALID_ARGUMENT is code
    assert "name must be given; service must be one of story, voice, storage, or empty" == message


async def test_a_service_that_is_away_may_have_it(cluster: Siblings) -> None:
    """What is not found is not said to be unknown while a service does not answer."""
    await cluster.servers["voice"].server.stop()
    code, reason, message = await cluster.refused("speech")

    assert (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE") == (code, reason)
    assert "these do not answer: voice." in message
    assert CLOSED == (await cluster.reset("models")).state
    assert grpc.StatusCode.UNAVAILABLE is (await cluster.refused("speech", "voice"))[0]


async def test_the_command_shows_and_resets_them(cluster: Siblings, tmp_path: Path) -> None:
    """`tale circuits` before and after `tale circuits reset`."""
    _, before, _ = await tale(cluster.address, tmp_path, "circuits")
    code, said, _ = await tale(cluster.address, tmp_path, "circuits", "reset", "speech")
    _, after, _ = await tale(cluster.address, tmp_path, "circuits")

    assert [["story", "models", "OPEN"], ["voice", "speech", "OPEN"]] == _states(before, "models", "speech")
    assert (0, "The circuit speech is CLOSED.\n") == (code, said)
    assert [["story", "models", "OPEN"], ["voice", "speech", "CLOSED"]] == _states(after, "models", "speech")


def _states(output: str, *names: str) -> list[list[str]]:
    rows = [line.split()[:3] for line in output.splitlines()]
    return [row for row in rows if row[1] in names]
