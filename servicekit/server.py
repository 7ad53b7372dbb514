"""Serves an app: binding, health, status, operators' port, drain."""

import asyncio
import errno
import os
from contextlib import AsyncExitStack
from importlib.util import find_spec
from typing import Any, Final, Self

import grpc
import structlog

from servicekit.addresses import check_free
from servicekit.app import App
from servicekit.authentication import TrustedCaller
from servicekit.channel import WINDOWS
from servicekit.health import NAME, Health, StatusServicer
from servicekit.interceptor import CallInterceptor
from servicekit.metrics import Metrics
from servicekit.ops import OpsServer
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.shared import RedisCircuits, SharedCircuits
from servicekit.runner import MOST_CALLS, CallTracker
from servicekit.settings import ConfigurationError, ServiceSettings, SharingSettings, env_name
from servicekit.tracer import open_tracer
from tale.common.v1 import status_pb2_grpc

_log: Final = structlog.stdlib.get_logger("servicekit.server")

_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    # Otherwise a second server on the port would silently succeed.
    ("grpc.so_reuseport", 0),
    # Clients look for new replicas only when they reconnect. The grace outlasts every stream: a run is 45 min.
    ("grpc.max_connection_age_ms", 60_000),
    ("grpc.max_connection_age_grace_ms", 3_600_000),
    # Calls that a busy service has not taken up yet wait for it until their deadline. By default gRPC cancels them
    # after 30 seconds, and their callers see a bare CANCELLED.
    ("grpc.server_max_unrequested_time_in_server", 3_600),
    # It would drop calls beyond 1,000 that have not been taken up. How many may run is decided here: CallTracker.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
    # A connection on which nothing comes, not even the preface of HTTP/2.
    ("grpc.server_handshake_timeout_ms", 10_000),
    *WINDOWS,
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)
# A connection of a peer service carries the calls of many callers.
_AT_THE_DOOR: Final = (*_OPTIONS, ("grpc.max_concurrent_streams", 1_024))
_NOTICE_SECONDS: Final = 0.1
_CUT_SECONDS: Final = 2.0
_CLOSE_SECONDS: Final = 10.0
_LAST_SECONDS: Final = 0.1


class Server:
    """Runs an App: `start`, then `drain` (or `stop` at once); as a context manager, start and drain.

    Raises ConfigurationError from `start` if an address cannot be bound, and what the app raises.
    """

    def __init__(
        self,
        app: App,
        settings: ServiceSettings,
        *,
        service: str,
        most_calls: int = MOST_CALLS,
    ) -> None:
        self._app = app
        self._settings = settings
        self._service = service
        self._tracker = CallTracker(most_calls)
        self._health = Health()
        metrics = app.metrics or Metrics()
        metrics.serves(service)
        self._circuits = app.circuits or BreakerManager()
        self._shared = _shared(settings, self._circuits, service)
        self._ops = OpsServer(self._is_healthy, metrics, self._circuits, peers=app.peers)
        self._tracer = app.tracer or open_tracer(service)
        self._grpc = grpc.aio.server(
            interceptors=[
                CallInterceptor(
                    self._tracker,
                    app.authenticator or TrustedCaller(settings.peer_token),
                    metrics,
                    admit=app.admit,
                    limit=app.limit,
                    answered=app.answered,
                    tracer=self._tracer,
                )
            ],
            options=_OPTIONS if app.authenticator is None else _AT_THE_DOOR,
        )
        self._bound = ""
        self._app_began = False
        self._draining = False
        self._stopping = False
        self._down = asyncio.Event()

    @property
    def serving(self) -> bool:
        """True while calls are taken."""
        return self._health.serving

    @property
    def in_flight(self) -> int:
        """Calls that are being answered now; health checks and reflection do not count."""
        return self._tracker.in_flight

    @property
    def address(self) -> str:
        """Where it listens, "host:port", with the real port where the settings said 0. Empty before `start`."""
        return self._bound

    @property
    def ops_address(self) -> str:
        """Where the operators' HTTP listens, "host:port". Empty before `start`."""
        return self._ops.address

    async def start(self) -> None:
        """Binds, starts the app, and says SERVING. Calls that arrive meanwhile wait."""
        try:
            await self._register()
            await self._bind()
            await self._bind_ops()
            await self._grpc.start()
            self._app_began = True
            await self._app.start()
            if self._shared is not None:
                self._shared.start()
        except BaseException:
            await self.stop()
            raise
        self._tracker.open()
        await self._health.set_serving(serving=True)
        _log.info("serving", address=self.address, ops_address=self.ops_address)

    async def drain(self) -> None:
        """Shuts down in order, within `drain_seconds` and a little. Returns when the server is down.

        Health becomes NOT_SERVING, and its watchers get a moment to choose another replica; from then on new calls get
        UNAVAILABLE / RECONNECT, the app ends its streams, calls in flight end; those that do not in time get RECONNECT
        as well. Then the app closes what it opened.
        """
        if self._draining or self._stopping:
            await self._down.wait()
            return
        self._draining = True
        deadline = asyncio.get_running_loop().time() + self._settings.drain_seconds
        _log.info("draining", in_flight=self.in_flight)
        try:
            await self._health.set_serving(serving=False)
            if self._health.watched:
                # Calls that are on their way still get in; the next ones go to another replica.
                await asyncio.sleep(min(_NOTICE_SECONDS, self._settings.drain_seconds))
            self._tracker.draining = True
            await self._begin_drain(deadline)
            await self._tracker.wait_idle(deadline)
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Shuts down at once: calls in flight get UNAVAILABLE / RECONNECT, then the app closes what it opened."""
        if self._stopping:
            await self._down.wait()
            return
        self._stopping = True
        self._tracker.draining = True
        try:
            async with AsyncExitStack() as closing:
                closing.push_async_callback(self._ops.stop)
                if self._tracer is not None:
                    closing.push_async_callback(self._tracer.close)
                if self._shared is not None:
                    closing.push_async_callback(self._shared.aclose)
                closing.push_async_callback(self._stop_grpc)
                if self._app_began:
                    closing.push_async_callback(self._stop_app)
                await self._health.set_serving(serving=False)
                await self._cut()
        finally:
            self._down.set()
        _log.info("stopped")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drain()

    def _is_healthy(self) -> bool:
        return self.serving and self._app.sound

    async def _register(self) -> None:
        status = StatusServicer(self._app, self._circuits, self._service, self._is_healthy)
        status_pb2_grpc.add_StatusServiceServicer_to_server(status, self._grpc)
        services = (*self._app.register(self._grpc), NAME)
        await self._health.register(self._grpc, services, reflected=self._settings.reflection)

    async def _bind(self) -> None:
        listen = self._settings.listen
        try:
            # gRPC would print why it cannot bind on standard error, in lines of its own.
            await check_free(listen)
            secret = self._app.credentials
            port = self._grpc.add_secure_port(listen, secret) if secret else self._grpc.add_insecure_port(listen)
        except (OSError, RuntimeError) as error:
            raise unbindable(self._settings, "listen", listen, error) from None
        self._bound = f"{listen.rpartition(':')[0]}:{port}"

    async def _bind_ops(self) -> None:
        listen = self._settings.ops_listen
        try:
            await self._ops.start(listen)
        except OSError as error:
            raise unbindable(self._settings, "ops_listen", listen, error) from None

    async def _begin_drain(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline) as limit:
                await self._app.begin_drain()
        except TimeoutError:
            if not limit.expired():
                raise
            _log.warning("drain not begun in time")

    async def _cut(self) -> None:
        if self.in_flight:
            _log.warning("calls cut", in_flight=self.in_flight)
            self._tracker.interrupt()
            await self._tracker.wait_idle(asyncio.get_running_loop().time() + _CUT_SECONDS)

    async def _stop_app(self) -> None:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await self._app.stop()

    async def _stop_grpc(self) -> None:
        async with asyncio.timeout(_CLOSE_SECONDS):
            # What is left are health watches, which never end by themselves.
            await self._grpc.stop(_LAST_SECONDS)


def unbindable(settings: ServiceSettings, field: str, listen: str, error: OSError | RuntimeError) -> ConfigurationError:
    """Returns what is wrong with the address `listen` of a field of the settings, and the remedy."""
    variable = env_name(type(settings), field)
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return ConfigurationError(
            f"{variable}: {listen} is in use; end the program that listens there or set {variable} to another port"
        )
    why = os.strerror(number) if number and number > 0 else "no such address"
    return ConfigurationError(
        f"{variable}: cannot listen on {listen} ({why}); set {variable} to a host:port of this machine"
    )


def _shared(settings: ServiceSettings, circuits: BreakerManager, service: str) -> SharedCircuits | None:
    """Returns what shares the circuits with other replicas, if that is set; ConfigurationError without its library."""
    url = settings.circuit_store_url.get_secret_value() if isinstance(settings, SharingSettings) else ""
    if not url:
        return None
    if find_spec("redis") is None:
        raise ConfigurationError('CIRCUIT_STORE_URL needs the library redis: pip install "redis>=8"')
    return SharedCircuits(RedisCircuits(url, service), circuits)
