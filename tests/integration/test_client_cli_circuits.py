"""`tale circuits` against a scripted gateway."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import Parse
from google.protobuf.timestamp_pb2 import Timestamp
from support.scripted_gateway import Failure, ScriptedGateway, scripted_gateway
from support.tale_command import tale

from tale.common.v1 import status_pb2
from tale.gateway.v1 import gateway_pb2

CIRCUIT = status_pb2.CircuitStatus(
    name="openrouter:a/b",
    state=status_pb2.CIRCUIT_STATE_OPEN,
    total_calls=12,
    successful_calls=4,
    failed_calls=7,
    fallback_calls=3,
    state_changes=1,
    retry_time=Timestamp(seconds=1_700_000_000),
)
CLOSED = status_pb2.CircuitStatus(name="openrouter:a/b", state=status_pb2.CIRCUIT_STATE_CLOSED)
STATUS = gateway_pb2.GetSystemStatusResponse(
    services=[
        status_pb2.ServiceStatus(service="gateway", version="1.2", health=status_pb2.SERVICE_HEALTH_SERVING),
        status_pb2.ServiceStatus(
            service="story", version="1.2", health=status_pb2.SERVICE_HEALTH_SERVING, circuits=[CIRCUIT]
        ),
        status_pb2.ServiceStatus(service="voice", health=status_pb2.SERVICE_HEALTH_UNREACHABLE, warnings=["gone"]),
    ]
)


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    """A gateway that answers what it is told to."""
    async with scripted_gateway() as scripted:
        yield scripted


async def test_circuits_are_shown_with_their_counts(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """One line each, and a note where a service did not answer."""
    gateway.queue("GetSystemStatus", STATUS)
    code, out, err = await tale(gateway.target, tmp_path, "circuits")

    assert (0, "Note: the voice service does not answer.\n") == (code, err)
    assert [
        "SERVICE CIRCUIT STATE CALLS GOOD FAILED FALLBACK ASKS AGAIN",
        "story openrouter:a/b OPEN 12 4 7 3 at 2023-11-14T22:13:20Z",
    ] == [" ".join(line.split()) for line in out.splitlines()]


async def test_no_circuit_is_said_so(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """A sentence instead of an empty table."""
    gateway.queue("GetSystemStatus", gateway_pb2.GetSystemStatusResponse())

    assert (0, "No service has called a provider: there is no circuit yet.\n", "") == await tale(
        gateway.target, tmp_path, "circuits"
    )


async def test_json_has_the_circuits_and_whose_they_are(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """The fields of GetSystemStatusResponse, without what is not about circuits."""
    gateway.queue("GetSystemStatus", STATUS)
    _, out, _ = await tale(gateway.target, tmp_path, "circuits", "--json")
    expected = gateway_pb2.GetSystemStatusResponse(
        services=[
            status_pb2.ServiceStatus(service=each.service, health=each.health, circuits=each.circuits)
            for each in STATUS.services
        ]
    )

    assert expected == Parse(out, gateway_pb2.GetSystemStatusResponse())


@pytest.mark.parametrize(
    ("arguments", "service"),
    [
        (("circuits", "reset", "openrouter:a/b"), ""),
        (("circuits", "reset", "openrouter:a/b", "--service", "story"), "story"),
    ],
)
async def test_a_reset_reaches_the_gateway(
    gateway: ScriptedGateway, tmp_path: Path, arguments: tuple[str, ...], service: str
) -> None:
    """By name, and by service where it is given."""
    gateway.queue("ResetCircuit", gateway_pb2.ResetCircuitResponse(circuit=CLOSED))

    assert (0, "The circuit openrouter:a/b is CLOSED.\n", "") == await tale(gateway.target, tmp_path, *arguments)
    assert [gateway_pb2.ResetCircuitRequest(service=service, name="openrouter:a/b")] == gateway.requests("ResetCircuit")


@pytest.mark.parametrize("before", [True, False])
async def test_options_may_stand_before_or_after_the_word(
    gateway: ScriptedGateway, tmp_path: Path, before: bool
) -> None:
    """--json and --target of `tale circuits` hold for `reset`, too."""
    gateway.queue("ResetCircuit", gateway_pb2.ResetCircuitResponse(circuit=CLOSED))
    options = ("--json", "--target", gateway.target)
    arguments = (*options, "reset", "x") if before else ("reset", "x", *options)
    code, out, _ = await tale("127.0.0.1:1", tmp_path, "circuits", *arguments)

    assert (0, CLOSED) == (code, Parse(out, status_pb2.CircuitStatus()))


async def test_an_unknown_circuit_and_how_to_find_the_right_one(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """The command that lists them is named, the RPC is not."""
    gateway.queue(
        "ResetCircuit",
        Failure(
            grpc.StatusCode.NOT_FOUND, "CIRCUIT_NOT_FOUND", "No circuit has that name; GetSystemStatus lists them."
        ),
    )

    assert (
        1,
        "",
        "Error: No circuit has that name; `tale circuits` lists them. [CIRCUIT_NOT_FOUND]\n",
    ) == await tale(gateway.target, tmp_path, "circuits", "reset", "x")


async def test_several_circuits_of_the_name(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """The option that tells them apart is named."""
    gateway.queue(
        "ResetCircuit",
        Failure(
            grpc.StatusCode.INVALID_ARGUMENT,
            "VALIDATION_FAILED",
            violations=[("service", "must be given: story, voice have a circuit of that name")],
        ),
    )

    assert (
        2,
        "",
        "Error: --service must be given: story, voice have a circuit of that name\n",
    ) == await tale(gateway.target, tmp_path, "circuits", "reset", "x")
