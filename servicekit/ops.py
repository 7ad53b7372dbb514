"""The HTTP port for operators and probes."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from aiohttp import web

from servicekit.addresses import split_address
from servicekit.metrics import Metrics
from servicekit.resilience.breaker import BreakerSnapshot
from servicekit.resilience.manager import BreakerManager

_SHUTDOWN_SECONDS: Final = 1.0
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
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        self.address = ""

    async def start(self, listen: str) -> None:
        """Listens on "host:port"; OSError when it cannot."""
        host, port = split_address(listen)
        await self._runner.setup()
        await web.TCPSite(self._runner, host or None, port).start()
        bound = self._runner.addresses[0][1]
        self.address = f"{listen.rpartition(':')[0]}:{bound}"

    async def stop(self) -> None:
        """Stops listening."""
        await self._runner.cleanup()

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
