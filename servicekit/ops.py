"""The HTTP port for operators and probes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC
from typing import Any, Final, cast

from aiohttp import web
from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.addresses import split_address
from servicekit.health import circuit_status
from servicekit.metrics import Metrics
from servicekit.resilience.manager import BreakerManager
from tale.common.v1 import status_pb2

_SHUTDOWN_SECONDS: Final = 1.0
_REQUEST_SECONDS: Final = 10.0
"""Longest wait for a request: from the connection or the response before until its headers are whole."""
_BODY_SECONDS: Final = 2.0
"""Longest wait for the rest of a body, which no page here reads."""
_MOST_CONNECTIONS: Final = 256
_SHOWN: Final = (
    *("state", "provider", "success_rate", "total_calls", "successful_calls", "failed_calls", "ignored_calls"),
    *("rejected_calls", "slow_calls", "fallback_calls", "state_changes", "consecutive_failures"),
    *("last_failure_time", "last_success_time", "retry_time"),
)


async def _no_peers() -> Sequence[status_pb2.ServiceStatus]:
    return ()


class OpsServer:
    """`/healthz` (the process lives), `/readyz` (it takes calls) and the metrics.

    `/metrics` is for Prometheus; `/metrics/circuit-breakers` is JSON, with the circuit breakers of `peers`, too.
    """

    def __init__(
        self,
        ready: Callable[[], bool],
        metrics: Metrics,
        circuits: BreakerManager,
        *,
        peers: Callable[[], Awaitable[Sequence[status_pb2.ServiceStatus]]] = _no_peers,
        request_seconds: float = _REQUEST_SECONDS,
        most_connections: int = _MOST_CONNECTIONS,
    ) -> None:
        app = web.Application()
        routes = (
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._show_metrics),
            web.get("/metrics/circuit-breakers", self._show_circuits),
        )
        app.add_routes(routes)
        self._ready = ready
        self._metrics = metrics
        self._circuits = circuits
        self._peers = peers
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            keepalive_timeout=request_seconds,
            lingering_time=_BODY_SECONDS,
        )
        self._most_connections = most_connections
        self._listener: asyncio.Server | None = None
        self.address = ""

    async def start(self, listen: str) -> None:
        """Listens on "host:port"; OSError when it cannot."""
        host, port = split_address(listen)
        await self._runner.setup()
        self._listener = await asyncio.get_running_loop().create_server(self._accept, host or None, port, backlog=128)
        bound = self._listener.sockets[0].getsockname()[1]
        self.address = f"{listen.rpartition(':')[0]}:{bound}"

    async def stop(self) -> None:
        """Stops listening."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()

    def _accept(self) -> asyncio.Protocol:
        """Returns the handler of a new connection; of too many the oldest one is closed, so that probes get in."""
        server = self._runner.server
        if server is None:
            raise RuntimeError("the server is not set up")
        for oldest in server.connections[: max(0, len(server.connections) - self._most_connections + 1)]:
            oldest.force_close()
        return server()

    async def _show_metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._metrics.exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _show_circuits(self, request: web.Request) -> web.Response:
        del request
        peers = await self._peers()
        return web.json_response(report(map(circuit_status, self._circuits.snapshots()), peers))

    async def _healthz(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"status": "alive"})

    async def _readyz(self, request: web.Request) -> web.Response:
        del request
        ready = self._ready()
        return web.json_response({"status": "serving" if ready else "not serving"}, status=200 if ready else 503)


def report(
    circuits: Iterable[status_pb2.CircuitStatus], peers: Iterable[status_pb2.ServiceStatus] = ()
) -> dict[str, Any]:
    """Returns the page /metrics/circuit-breakers, of own circuit breakers and those of `peers`.

    A breaker is healthy while it is closed; all is healthy where all are, and every peer has answered. A breaker whose
    name another service has, too, is named "service/name". Times are ISO 8601 in UTC, null where there is none.
    """
    named = {each.name: each for each in circuits}
    unreachable = []
    for peer in peers:
        if peer.health == status_pb2.SERVICE_HEALTH_UNREACHABLE:
            unreachable.append(peer.service)
        for each in peer.circuits:
            named[each.name if each.name not in named else f"{peer.service}/{each.name}"] = each
    open_circuits = sorted(name for name, each in named.items() if each.state == status_pb2.CIRCUIT_STATE_OPEN)
    healthy = sum(each.state == status_pb2.CIRCUIT_STATE_CLOSED for each in named.values())
    return {
        "healthy": healthy == len(named) and not unreachable,
        "total_breakers": len(named),
        "healthy_breakers": healthy,
        "open_circuits": open_circuits,
        "open_circuits_count": len(open_circuits),
        "unreachable_services": unreachable,
        "metrics": {name: {field: _shown(each, field) for field in _SHOWN} for name, each in sorted(named.items())},
    }


def _shown(circuit: status_pb2.CircuitStatus, field: str) -> object:
    if field == "state":
        return status_pb2.CircuitState.Name(circuit.state).removeprefix("CIRCUIT_STATE_").lower()
    value = getattr(circuit, field)
    if isinstance(value, Timestamp):
        return value.ToDatetime(UTC).isoformat() if circuit.HasField(cast("Any", field)) else None
    return round(value, 6) if isinstance(value, float) else value
