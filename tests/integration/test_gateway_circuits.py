"""Operators see and reset the circuit breakers of every service at the gateway."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from support.circuit_services import CircuitCluster, circuit_cluster
from support.tale_command import tale

from servicekit.status import from_rpc_error
from tale.common.v1 import status_pb2
from tale.gateway.v1 import gateway_pb2

CLOSED = status_pb2.CIRCUIT_STATE_CLOSED


async def refused(cluster: CircuitCluster, name: str, service: str = "") -> tuple[grpc.StatusCode, str, str]:
    """Code, reason and text of a ResetCircuit that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await cluster.reset(name, service)
    error = from_rpc_error(caught.value)
    return error.code, error.reason, error.message


@pytest.fixture
async def cluster() -> AsyncIterator[CircuitCluster]:
    """Two services have a circuit of the same name, one has none."""
    async with circuit_cluster(story=["models", "shared"], voice=["speech", "shared"]) as it:
        yield it


async def test_status_of_the_cluster_has_every_circuit(cluster: CircuitCluster) -> None:
    """Under the service that has it."""
    status = await cluster.stub.GetSystemStatus(gateway_pb2.GetSystemStatusRequest(), timeout=10)

    assert {"gateway": [], "story": ["models", "shared"], "voice": ["shared", "speech"], "storage": []} == {
        service.service: [circuit.name for circuit in service.circuits] for service in status.services
    }


async def test_circuit_is_found_by_its_name(cluster: CircuitCluster) -> None:
    """And closed; the others stay as they are."""
    circuit = await cluster.reset("speech")

    assert "speech" == circuit.name
    assert CLOSED == circuit.state
    assert 2 == circuit.state_changes
    assert {"speech": "closed", "shared": "open"} == cluster.apps["voice"].states()
    assert {"models": "open", "shared": "open"} == cluster.apps["story"].states()


async def test_circuit_of_a_service_that_is_named(cluster: CircuitCluster) -> None:
    """Where several have one of the name the service tells them apart."""
    assert CLOSED == (await cluster.reset("shared", "voice")).state
    assert "closed" == cluster.apps["voice"].states()["shared"]
    assert "open" == cluster.apps["story"].states()["shared"]


async def test_circuit_name_of_several_services_needs_the_service(cluster: CircuitCluster) -> None:
    """Nothing is reset, and the answer says whose it could be."""
    code, reason, message = await refused(cluster, "shared")
    assert grpc.StatusCode.INVALID_ARGUMENT == code
    assert "VALIDATION_FAILED" == reason
    assert "service must be given: story, voice have a circuit of that name" == message
    assert "open" == cluster.apps["voice"].states()["shared"]


@pytest.mark.parametrize("service", ["", "story", "storage"])
async def test_unknown_circuit_is_not_found(cluster: CircuitCluster, service: str) -> None:
    """With and without a service."""
    code, reason, _ = await refused(cluster, "speech2", service)

    assert grpc.StatusCode.NOT_FOUND == code
    assert "CIRCUIT_NOT_FOUND" == reason


async def test_violations_of_a_circuit_request_are_reported(cluster: CircuitCluster) -> None:
    """Both fields."""
    code, _, message = await refused(cluster, "", "gatway")

    assert grpc.StatusCode.INVALID_ARGUMENT is code
    assert "service must be one of story, voice, storage; name must be given" == message


async def test_circuit_may_be_of_a_service_that_does_not_respond(cluster: CircuitCluster) -> None:
    """What is not found is not said to be unknown while a service does not answer."""
    await cluster.servers["voice"].server.stop()
    code, reason, message = await refused(cluster, "speech")

    assert grpc.StatusCode.UNAVAILABLE == code
    assert "UPSTREAM_UNAVAILABLE" == reason
    assert "these do not respond: voice." in message
    assert CLOSED == (await cluster.reset("models")).state
    assert grpc.StatusCode.UNAVAILABLE is (await refused(cluster, "speech", "voice"))[0]


async def test_tale_command_shows_and_resets_circuits(cluster: CircuitCluster, tmp_path: Path) -> None:
    """`tale circuits` before and after `tale circuits reset`."""
    _, before, _ = await tale(cluster.address, tmp_path, "circuits")
    code, said, _ = await tale(cluster.address, tmp_path, "circuits", "reset", "speech")
    _, after, _ = await tale(cluster.address, tmp_path, "circuits")

    assert [["story", "models", "OPEN"], ["voice", "speech", "OPEN"]] == _states(before, "models", "speech")
    assert 0 == code
    assert "The circuit speech is CLOSED.\n" == said
    assert [["story", "models", "OPEN"], ["voice", "speech", "CLOSED"]] == _states(after, "models", "speech")


def _states(output: str, *names: str) -> list[list[str]]:
    rows = [line.split()[:3] for line in output.splitlines()]
    return [row for row in rows if row[1] in names]
