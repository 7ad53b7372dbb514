"""The HTTP port for operators and probes."""

from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web

from servicekit.addresses import split_address

_SHUTDOWN_SECONDS: Final = 1.0


class OpsServer:
    """`/healthz` (the process lives), `/readyz` (it takes calls), and the routes that others add.

    A `Server` adds `/metrics` (Prometheus), `/metrics/circuit-breakers` (JSON) and those of its app.
    """

    def __init__(self, ready: Callable[[], bool], routes: Sequence[web.AbstractRouteDef] = ()) -> None:
        app = web.Application()
        app.add_routes([web.get("/healthz", self._healthz), web.get("/readyz", self._readyz), *routes])
        self._ready = ready
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        self.address = ""

    async def start(self, listen: str) -> None:
        """Listens on "host:port"; OSError when it can not."""
        host, port = split_address(listen)
        await self._runner.setup()
        await web.TCPSite(self._runner, host or None, port).start()
        bound = self._runner.addresses[0][1]
        self.address = f"{listen.rpartition(':')[0]}:{bound}"

    async def stop(self) -> None:
        """Stops listening."""
        await self._runner.cleanup()

    async def _healthz(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"status": "alive"})

    async def _readyz(self, request: web.Request) -> web.Response:
        del request
        ready = self._ready()
        return web.json_response({"status": "serving" if ready else "not serving"}, status=200 if ready else 503)
