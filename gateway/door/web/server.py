"""Listens for HTTP: connections are bounded in number and time, and end with the gateway."""

import asyncio
import shutil
import socket
import tempfile
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc
import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.door.certificate import Certificate
from gateway.settings import GatewaySettings
from servicekit.addresses import reached, split_address
from servicekit.channel import open_channel
from servicekit.server import unbindable

_log: Final = structlog.stdlib.get_logger(__name__)

_MOST_CONNECTIONS: Final = 1024
_HEADERS_SECONDS: Final = 10.0
"""Longest wait for a request: from the connection, or its first byte, until its headers are whole."""
_BODY_SECONDS: Final = 120.0
"""Longest wait for the whole body of a request."""
_STALL_SECONDS: Final = 120.0
"""Longest time for which a client may read nothing."""
_IDLE_SECONDS: Final = 15
_END_SECONDS: Final = 2
_MAX_HEADER_BYTES: Final = 32 * 1024


class WebServer:
    """The HTTP port. Its requests go to the gateway's gRPC server through a socket that no other user can reach."""

    def __init__(self, settings: GatewaySettings, site: Callable[[grpc.aio.Channel], ASGIApp]) -> None:
        """`site` makes the application, given a channel to the gRPC server."""
        self._settings = settings
        self._site = site
        self._folder = Path(tempfile.mkdtemp(prefix="tale-"))
        self._remove_folder = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._target = f"unix:{self._folder / 'grpc'}"
        self._channel: grpc.aio.Channel | None = None
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.address = ""
        """Where it listens, "host:port", with the real port; empty while it does not."""

    def register(self, server: grpc.aio.Server) -> None:
        """Has the gRPC server answer calls from here as well."""
        server.add_insecure_port(self._target)

    async def start(self) -> str | None:
        """Listens. Returns why it cannot, and the remedy, where another program has the default address.

        Raises ConfigurationError where it cannot listen on an address that was set.
        """
        listen = self._settings.web_listen
        try:
            sockets = await _bound(listen)
        except OSError as error:
            refusal = unbindable(self._settings, "web_listen", listen, error)
            if "web_listen" in self._settings.model_fields_set:
                raise refusal from None
            return f"There is no page. {refusal}."
        self._channel = open_channel(self._target, health_checked=False)
        self._server = _Server(self._config(self._site(self._channel)))
        self._serving = asyncio.create_task(self._server.serve(sockets))
        await self._server.up.wait()
        self.address = f"{listen.rpartition(':')[0]}:{sockets[0].getsockname()[1]}"
        _log.info("page served", address=self.url)
        return None

    @property
    def url(self) -> str:
        """The URL of the page, without a slash at its end; empty while there is none."""
        if not self.address or self._settings.web_url:
            return self._settings.web_url if self.address else ""
        scheme = "https" if self._settings.tls_cert_file else "http"
        return f"{scheme}://{reached(self.address)}"

    async def stop(self) -> None:
        """Stops listening; responses that are being sent get two seconds to end."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
        if self._channel is not None:
            await self._channel.close()
        await asyncio.to_thread(self._remove_folder)

    def _config(self, site: ASGIApp) -> uvicorn.Config:
        chain, key = self._settings.tls_cert_file, self._settings.tls_key_file
        certificate = Certificate(chain, key) if chain is not None and key is not None else None
        return uvicorn.Config(
            site,
            http=_Connection,
            ws="none",
            loop="none",
            lifespan="off",
            # The lines are those of the calls, and defects are logged by the site.
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_END_SECONDS,
            h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
            ssl_context_factory=None if certificate is None else lambda *_: certificate.context(),
        )


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: the process has its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _Connection(H11Protocol):
    """A connection that may take its time only where something is being answered.

    Of too many, one on which nothing is being answered makes room for a new one.
    """

    _timer: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _allowed: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > _MOST_CONNECTIONS:
            connections = [each for each in self.connections if isinstance(each, _Connection) and each is not self]
            next((each for each in connections if not each.answering), self).transport.abort()
        self._allow(_HEADERS_SECONDS)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.answering:
            self._allow(_HEADERS_SECONDS)
        else:
            self._allow(_BODY_SECONDS if self.cycle.more_body else None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._allow(None)
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(_STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    @property
    def answering(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _allow(self, seconds: float | None) -> None:
        """Has the connection end unless the request continues within so many seconds of the first such call."""
        if seconds == self._allowed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._allowed = seconds
        self._timer = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)


async def _bound(listen: str) -> list[socket.socket]:
    """Returns a socket for each address of "host:port"."""
    host, port = split_address(listen)
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    bound: list[socket.socket] = []
    try:
        for family, _, _, _, place in found:
            bound.append(socket.create_server(place[:2], family=family, backlog=128))
    except OSError:
        for each in bound:
            each.close()
        raise
    return bound
