"""Reports the state of the cluster and resets circuit breakers, over all replicas of the peer services."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.authentication import ServiceToken
from servicekit.channel import PeerChannel, open_channel
from servicekit.errors import FieldViolation, not_found, unavailable, validation_failed
from servicekit.version import VERSION
from tale.common.v1 import common_pb2, status_pb2, status_pb2_grpc
from tale.gateway.v1 import gateway_pb2

STATUS_SECONDS: Final = 5.0
MAX_WAITING_IDS: Final = 100
"""Maximum number of ids of stories that wait for the same."""

_SEVERITY: Final = (
    status_pb2.CIRCUIT_STATE_UNSPECIFIED,
    status_pb2.CIRCUIT_STATE_CLOSED,
    status_pb2.CIRCUIT_STATE_HALF_OPEN,
    status_pb2.CIRCUIT_STATE_OPEN,
)


class System:
    """The state of the peer services.

    Each service has one entry: the status of one replica, chosen by load balancing, with the worst state of each
    circuit breaker among all replicas.
    """

    def __init__(
        self,
        channels: Mapping[str, grpc.aio.Channel],
        *,
        targets: Mapping[str, str],
        token: ServiceToken | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        """Takes channels and targets of the peer services, by service, the token of the cluster, and own warnings."""
        self._warnings = warnings
        self._targets = targets
        self._token = token
        self._stubs: dict[str, Any] = {
            name: status_pb2_grpc.StatusServiceStub(channel) for name, channel in channels.items()
        }
        self._start_time = Timestamp()
        self._start_time.GetCurrentTime()
        self._started = time.monotonic()

    async def status(self, *, running_stories: int) -> gateway_pb2.GetSystemStatusResponse:
        """Returns the state of all services; one that does not respond is UNREACHABLE."""
        services = [self._gateway(), *await self.peers()]
        return gateway_pb2.GetSystemStatusResponse(
            healthy=all(service.health == status_pb2.SERVICE_HEALTH_SERVING for service in services),
            services=services,
            embedded_parts=[part for service in services for part in service.embedded_parts],
            running_stories=running_stories,
        )

    async def peers(self) -> Sequence[status_pb2.ServiceStatus]:
        """Returns the state of the peer services; one that does not respond is UNREACHABLE."""
        return await asyncio.gather(*(self._status(name, stub) for name, stub in self._stubs.items()))

    async def reset_circuit(self, service: str, name: str, *, timeout: float) -> status_pb2.CircuitStatus:
        """Closes a circuit breaker in all replicas that have it; returns its state.

        With an empty `service` it is that of the service that has a circuit of that name. Raises INVALID_ARGUMENT if
        several services have one, CIRCUIT_NOT_FOUND if none has, and UPSTREAM_UNAVAILABLE if none that responds has.
        """
        service = service or await self._service_of(name)
        request = status_pb2.ResetCircuitRequest(name=name)

        async def reset(stub: Any) -> status_pb2.CircuitStatus | grpc.aio.AioRpcError:
            try:
                response: status_pb2.ResetCircuitResponse = await stub.ResetCircuit(request, timeout=timeout)
            except grpc.aio.AioRpcError as error:
                return error
            return response.circuit

        async with each_replica(self._targets[service], self._token) as replicas:
            stubs = [status_pb2_grpc.StatusServiceStub(each) for each in replicas] or [self._stubs[service]]
            results = await asyncio.gather(*map(reset, stubs))
        closed = [each for each in results if isinstance(each, status_pb2.CircuitStatus)]
        failed = [each for each in results if isinstance(each, grpc.aio.AioRpcError)]
        if closed:
            return _worst(closed)[0]
        for error in failed:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise error
        raise _unknown_circuit()

    async def _service_of(self, circuit: str) -> str:
        statuses = dict(zip(self._stubs, await self.peers(), strict=True))
        having = [name for name, status in statuses.items() if circuit in {each.name for each in status.circuits}]
        if len(having) > 1:
            raise validation_failed(
                [FieldViolation("service", f"must be given: {', '.join(having)} have a circuit of that name")]
            )
        if having:
            return having[0]
        silent = [name for name, status in statuses.items() if status.health == status_pb2.SERVICE_HEALTH_UNREACHABLE]
        if silent:
            raise unavailable(
                "UPSTREAM_UNAVAILABLE",
                f"No service that responds has a circuit of that name; these do not respond: {', '.join(silent)}.",
            )
        raise _unknown_circuit()

    async def _status(self, name: str, stub: Any) -> status_pb2.ServiceStatus:
        status, others = await asyncio.gather(self._one_status(name, stub), self._replica_statuses(name))
        circuits = _worst([*status.circuits, *(circuit for other in others for circuit in other.circuits)])
        del status.circuits[:]
        status.circuits.extend(circuits)
        return status

    async def _replica_statuses(self, name: str) -> Sequence[status_pb2.ServiceStatus]:
        async with each_replica(self._targets[name], self._token) as replicas:
            stubs = [status_pb2_grpc.StatusServiceStub(each) for each in replicas]
            return await asyncio.gather(*(self._one_status(name, stub) for stub in stubs))

    async def _one_status(self, name: str, stub: Any) -> status_pb2.ServiceStatus:
        try:
            response: status_pb2.GetStatusResponse = await stub.GetStatus(
                status_pb2.GetStatusRequest(), timeout=STATUS_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            warning = f"The {name} service did not respond ({error.code().name})."
            return status_pb2.ServiceStatus(
                service=name, health=status_pb2.SERVICE_HEALTH_UNREACHABLE, warnings=[warning]
            )
        return response.status

    def _gateway(self) -> status_pb2.ServiceStatus:
        status = status_pb2.ServiceStatus(
            service="gateway",
            version=VERSION,
            health=status_pb2.SERVICE_HEALTH_SERVING,
            start_time=self._start_time,
            warnings=self._warnings,
        )
        status.uptime.FromNanoseconds(int((time.monotonic() - self._started) * 1e9))
        return status


def grouped(waiting: Iterable[tuple[str, common_pb2.Waiting]]) -> list[gateway_pb2.WaitingStories]:
    """Returns stories and what they wait for, those together that wait for the same, the most stories first."""
    groups: dict[tuple[int, str, bool], gateway_pb2.WaitingStories] = {}
    for story_id, each in sorted(waiting, key=lambda known: known[1].since.ToNanoseconds()):
        group = groups.setdefault((each.what, each.name, each.narration), gateway_pb2.WaitingStories(waiting=each))
        group.story_count += 1
        if len(group.story_ids) < MAX_WAITING_IDS:
            group.story_ids.append(story_id)
    return sorted(groups.values(), key=lambda group: -group.story_count)


def _worst(circuits: Iterable[status_pb2.CircuitStatus]) -> list[status_pb2.CircuitStatus]:
    """Returns one circuit breaker per name, sorted by name: the one in the worst state, among equals the busiest."""
    worst: dict[str, status_pb2.CircuitStatus] = {}
    for each in sorted(circuits, key=lambda each: (_SEVERITY.index(each.state), each.total_calls)):
        worst[each.name] = each
    return [worst[name] for name in sorted(worst)]


def _unknown_circuit() -> Exception:
    return not_found("CIRCUIT_NOT_FOUND", "No circuit has that name.")


_DNS: Final = "dns"
_NUMERIC: Final = frozenset({"ipv4", "ipv6"})
_RESOLVE_SECONDS: Final = 2.0

MAX_REPLICAS: Final = 32
"""Maximum number of replicas of a service that are called one by one."""


@asynccontextmanager
async def each_replica(target: str, token: ServiceToken | None) -> AsyncGenerator[Sequence[grpc.aio.Channel], None]:
    """Yields a channel to each address of `target`, open as long as the block; none for a single address."""
    async with AsyncExitStack() as stack:
        found = await addresses(target)
        channels = [
            PeerChannel(open_channel(each, health_checked=False), token) for each in (found if len(found) > 1 else ())
        ]
        for channel in channels:
            stack.push_async_callback(channel.close)
        yield channels


async def addresses(target: str) -> list[str]:
    """Returns the addresses of "dns:///host:port" or "ipv4:a:1,b:2" as targets, sorted.

    Returns none for any other target, and if the name is not resolved within two seconds.
    """
    parts = urlsplit(target)
    if parts.scheme in _NUMERIC:
        return sorted({f"{parts.scheme}:{each}" for each in parts.path.split(",") if each})[:MAX_REPLICAS]
    host, colon, port = parts.path.removeprefix("/").rpartition(":")
    # Only gRPC can use a name server that is part of the target.
    if parts.scheme != _DNS or parts.netloc or not colon or not port.isascii() or not port.isdigit():
        return []
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, OverflowError, UnicodeError, TimeoutError):
        return []
    resolved = {
        f"ipv6:[{address[0]}]:{port}" if family is socket.AF_INET6 else f"ipv4:{address[0]}:{port}"
        for family, _, _, _, address in found
        if family in {socket.AF_INET, socket.AF_INET6} and isinstance(address[0], str)
    }
    return sorted(resolved)[:MAX_REPLICAS]
