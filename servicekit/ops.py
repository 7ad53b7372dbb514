"""The HTTP port for operators and probes."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from aiohttp import web

from servicekit.addresses import split_address
from servicekit.metrics import Metrics
from servicekit.resilience.breaker import BreakerSnapshot
from servicekit.resilience.manager import BreakerManager

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


class OpsServer:
    """`/healthz` (the process lives), `/readyz` (it takes calls) and the metrics.

    `/metrics` is for Prometheus, `/metrics/circuit-breakers` is JSON.
    """

    def __init__(
        self,
        ready: Callable[[], bool],
        metrics: Metrics,
        circuits: BreakerManager,
        *,
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
        return web.json_response(report(self._circuits.snapshots()))

    async def _healthz(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"status": "alive"})

    async def _readyz(self, request: web.Request) -> web.Response:
        del request
        ready = self._ready()
        return web.json_response({"status": "serving" if ready else "not serving"}, status=200 if ready else 503)


def report(snapshots: Sequence[BreakerSnapshot]) -> dict[str, Any]:
    """Returns the page /metrics/circuit-breakers. A breaker is healthy while it is closed; so are all where all are.

    Times are ISO 8601 in UTC, null where there is none.
    """
    healthy = sum(snapshot.state == "closed" for snapshot in snapshots)
    return {
        "healthy": healthy == len(snapshots),
        "total_breakers": len(snapshots),
        "healthy_breakers": healthy,
        "open_circuits": sum(snapshot.state == "open" for snapshot in snapshots),
        "metrics": {snapshot.name: {name: _shown(snapshot, name) for name in _SHOWN} for snapshot in snapshots},
    }


def _shown(snapshot: BreakerSnapshot, name: str) -> object:
    value = getattr(snapshot, name)
    if isinstance(value, datetime):
        return value.isoformat()
    return round(value, 6) if isinstance(value, float) else value
