"""How the cluster is: every service asked at the same time, none waited for long."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.channel import call_metadata, open_channel
from servicekit.errors import FieldViolation, not_found, unavailable, validation_failed
from servicekit.version import VERSION
from tale.common.v1 import status_pb2, status_pb2_grpc
from tale.gateway.v1 import gateway_pb2

ASK_SECONDS: Final = 2.0

_SEVERITY: Final = (
    status_pb2.CIRCUIT_STATE_UNSPECIFIED,
    status_pb2.CIRCUIT_STATE_CLOSED,
    status_pb2.CIRCUIT_STATE_HALF_OPEN,
    status_pb2.CIRCUIT_STATE_OPEN,
)


class System:
    """Asks the peer services how they are, and all replicas of each about their circuits.

    There is one entry for each service: what one replica says of itself, which is up to the balancing, and of each
    circuit what the replica says where it stands worst.
    """

    def __init__(self, channels: Mapping[str, grpc.aio.Channel], *, targets: Mapping[str, str]) -> None:
        """Both by the names of services: channels to them, and what these lead to."""
        self._targets = targets
        self._stubs: dict[str, Any] = {
            name: status_pb2_grpc.StatusServiceStub(channel) for name, channel in channels.items()
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

    async def reset_circuit(self, service: str, name: str, *, timeout: float) -> status_pb2.CircuitStatus:
        """Closes a circuit by hand and says how it is then.

        `service` empty: of the one that has a circuit of that name; INVALID_ARGUMENT where several have. NOT_FOUND /
        CIRCUIT_NOT_FOUND where none has; UNAVAILABLE where none that answers has, but not all answer.

        All replicas that have it close it; it is an error only where none does.
        """
        service = service or await self._having(name)
        request = status_pb2.ResetCircuitRequest(name=name)

        async def reset(stub: Any) -> status_pb2.CircuitStatus | grpc.aio.AioRpcError:
            try:
                answer: status_pb2.ResetCircuitResponse = await stub.ResetCircuit(
                    request, timeout=timeout, metadata=call_metadata()
                )
            except grpc.aio.AioRpcError as error:
                return error
            return answer.circuit

        async with each_replica(self._targets[service]) as replicas:
            stubs = [status_pb2_grpc.StatusServiceStub(each) for each in replicas] or [self._stubs[service]]
            answers = await asyncio.gather(*map(reset, stubs))
        closed = [each for each in answers if isinstance(each, status_pb2.CircuitStatus)]
        failed = [each for each in answers if isinstance(each, grpc.aio.AioRpcError)]
        if closed:
            return _worst(closed)[0]
        for error in failed:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise error
        raise _unknown_circuit()

    async def _having(self, circuit: str) -> str:
        answers = await asyncio.gather(*(self._ask(name, stub) for name, stub in self._stubs.items()))
        told = dict(zip(self._stubs, answers, strict=True))
        having = [name for name, status in told.items() if circuit in {each.name for each in status.circuits}]
        if len(having) > 1:
            raise validation_failed(
                [FieldViolation("service", f"must be given: {', '.join(having)} have a circuit of that name")]
            )
        if having:
            return having[0]
        silent = [name for name, status in told.items() if status.health == status_pb2.SERVICE_HEALTH_UNREACHABLE]
        if silent:
            raise unavailable(
                "UPSTREAM_UNAVAILABLE",
                f"No service that answers has a circuit of that name; these do not answer: {', '.join(silent)}.",
            )
        raise _unknown_circuit()

    async def _ask(self, name: str, stub: Any) -> status_pb2.ServiceStatus:
        status, others = await asyncio.gather(self._ask_one(name, stub), self._ask_replicas(name))
        circuits = _worst([*status.circuits, *(circuit for other in others for circuit in other.circuits)])
        del status.circuits[:]
        status.circuits.extend(circuits)
        return status

    async def _ask_replicas(self, name: str) -> Sequence[status_pb2.ServiceStatus]:
        async with each_replica(self._targets[name]) as replicas:
            stubs = [status_pb2_grpc.StatusServiceStub(each) for each in replicas]
            return await asyncio.gather(*(self._ask_one(name, stub) for stub in stubs))

    async def _ask_one(self, name: str, stub: Any) -> status_pb2.ServiceStatus:
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
            version=VERSION,
            health=status_pb2.SERVICE_HEALTH_SERVING,
            start_time=self._start_time,
        )
        status.uptime.FromNanoseconds(int((time.monotonic() - self._started) * 1e9))
        return status


def _worst(circuits: Iterable[status_pb2.CircuitStatus]) -> list[status_pb2.CircuitStatus]:
    """One of each name, by name: that of the worst state, and of those the busiest."""
    worst: dict[str, status_pb2.CircuitStatus] = {}
    for each in sorted(circuits, key=lambda each: (_SEVERITY.index(each.state), each.total_calls)):
        worst[each.name] = each
    return [worst[name] for name in sorted(worst)]


def _unknown_circuit() -> Exception:
    return not_found("CIRCUIT_NOT_FOUND", "No circuit has that name; GetSystemStatus lists them.")


_DNS: Final = "dns"
_NUMERIC: Final = frozenset({"ipv4", "ipv6"})
_RESOLVE_SECONDS: Final = 2.0

MAX_REPLICAS: Final = 32
"""Most replicas of one service that are asked one by one."""


@asynccontextmanager
async def each_replica(target: str) -> AsyncGenerator[Sequence[grpc.aio.Channel], None]:
    """A channel to each address of `target`, open as long as the block; none where there are not several addresses."""
    async with AsyncExitStack() as stack:
        found = await addresses(target)
        channels = [open_channel(each, health_checked=False) for each in (found if len(found) > 1 else ())]
        for channel in channels:
            stack.push_async_callback(channel.close)
        yield channels


async def addresses(target: str) -> list[str]:
    """The addresses of "dns:///host:port" or of "ipv4:a:1,b:2", in order, as targets of their own.

    None for anything else, and where the name cannot be resolved within two seconds.
    """
    parts = urlsplit(target)
    if parts.scheme in _NUMERIC:
        return sorted({f"{parts.scheme}:{each}" for each in parts.path.split(",") if each})[:MAX_REPLICAS]
    host, colon, port = parts.path.removeprefix("/").rpartition(":")
    # A name server that is named in the target is asked by gRPC alone.
    if parts.scheme != _DNS or parts.netloc or not colon or not port.isascii() or not port.isdigit():
        return []
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, OverflowError, UnicodeError, TimeoutError):
        return []
    told = {
        f"ipv6:[{address[0]}]:{port}" if family is socket.AF_INET6 else f"ipv4:{address[0]}:{port}"
        for family, _, _, _, address in found
        if family in {socket.AF_INET, socket.AF_INET6} and isinstance(address[0], str)
    }
    return sorted(told)[:MAX_REPLICAS]
