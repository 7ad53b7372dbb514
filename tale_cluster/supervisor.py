"""Starts the four services as processes, restarts a service that stops, and stops them in order."""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Final, Self, TypeAlias

import grpc

from tale_cluster.layout import CERTIFICATE_VARIABLE, GATEWAY, SERVICES, STOP_ORDER, Layout, Service

_TAIL_LINES: Final = 20
_LINE_BYTES: Final = 16 * 1024
_HEALTH_CHECK: Final = "/grpc.health.v1.Health/Check"
_CHANNEL_OPTIONS: Final = (("grpc.max_reconnect_backoff_ms", 200), ("grpc.enable_http_proxy", 0))
_SERVING: Final = b"\x08\x01"
"""grpc.health.v1.HealthCheckResponse with `status` SERVING, as it is on the wire."""

LineSink = Callable[[Service, str], None]
"""Takes one line of a service's log, without the line break."""


class ServiceProcess:
    """A running service, whose output goes to `sink` line by line."""

    def __init__(self, service: Service, process: asyncio.subprocess.Process, sink: LineSink) -> None:
        self.service = service
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        """The last lines of its output."""
        self._process = process
        self._sink = sink
        self._pump = asyncio.create_task(self._read(), name=f"log of {service.name}")

    @classmethod
    async def start(cls, service: Service, environ: Mapping[str, str], sink: LineSink) -> "ServiceProcess":
        """Starts a service under a guard that stops it when this process ends."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tale_cluster.guard",
            service.module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environ,
            # Ctrl-C in the terminal goes to the supervisor, which stops the services in order.
            start_new_session=True,
        )
        return cls(service, process, sink)

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its process group."""
        return self._process.pid

    async def exited(self) -> int:
        """Waits for its end and its last line; returns the exit code, -N for signal N."""
        code = await self._process.wait()
        # A grandchild may hold the pipe open; its output is not needed.
        await asyncio.wait({self._pump}, timeout=1.0)
        return code

    async def serving(self, address: str) -> None:
        """Waits until the health check at `address` returns SERVING; without a limit."""
        async with grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS) as channel:
            check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_HEALTH_CHECK)
            while True:
                try:
                    if await check(b"", timeout=2.0) == _SERVING:
                        return
                except grpc.aio.AioRpcError as error:
                    if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                        raise
                await asyncio.sleep(0.05)

    async def ready(self, ops_address: str) -> None:
        """Waits until its HTTP server at `ops_address` reports that it takes calls; without a limit."""
        while True:
            # A wrong address is reported by the service.
            with contextlib.suppress(OSError, HTTPException):
                if await asyncio.to_thread(_status, ops_address) == HTTPStatus.OK:
                    return
            await asyncio.sleep(0.05)

    async def stop(self, grace: float) -> None:
        """Sends SIGTERM, and after `grace` seconds SIGKILL to its process group."""
        if self._process.returncode is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(grace):
                await self.exited()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """Sends SIGKILL to its process group."""
        if self._process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
        await self.exited()
        self._pump.cancel()

    async def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            raise RuntimeError("the process was started without a pipe")
        rest = b""
        while data := await stream.read(_LINE_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            # A line without an end is split, so that memory stays bounded.
            if len(rest) > _LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._take(line)
        if rest:
            self._take(rest)

    def _take(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        self.tail.append(text)
        self._sink(self.service, text)


_DRAIN_VARIABLE: Final = "DRAIN_SECONDS"
_DRAIN_DEFAULT: Final = 30.0
_AFTER_DRAIN: Final = 5.0

Launch: TypeAlias = Callable[[Service, Mapping[str, str], LineSink], Awaitable[ServiceProcess]]
"""Starts a service."""


class ClusterError(Exception):
    """A service does not start or does not keep running. `tail`: the last lines of its output."""

    def __init__(self, message: str, tail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.tail = tuple(tail)


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a service that stopped is started again. Times in seconds."""

    first_wait: float = 0.5
    """Wait before the first restart; doubled for each further one."""
    longest_wait: float = 10.0
    """Maximum wait."""
    steady_after: float = 60.0
    """A service that ran this long starts with no failures."""
    attempts: int = 5
    """Maximum number of restarts in a row."""


class Supervisor:
    """The four services. `async with` stops them in order; a cancellation while they stop kills them.

    `sink` takes each line of their logs, `report` the messages of the supervisor.
    """

    def __init__(
        self,
        layout: Layout,
        environ: Mapping[str, str],
        *,
        sink: LineSink,
        report: Callable[[str], None],
        start_timeout: float = 60.0,
        policy: RestartPolicy | None = None,
        launch: Launch = ServiceProcess.start,
    ) -> None:
        self._layout = layout
        self._environ = layout.environment(environ)
        self._sink = sink
        self._report = report
        self._start_timeout = start_timeout
        self._policy = policy or RestartPolicy()
        self._launch = launch
        self._running: dict[Service, ServiceProcess] = {}
        self._grace = _seconds(environ.get(_DRAIN_VARIABLE), _DRAIN_DEFAULT) + _AFTER_DRAIN

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def pid(self, service: Service) -> int:
        """Process id of a running service."""
        return self._running[service].pid

    async def start(self) -> None:
        """Starts all services and waits until each is SERVING; ClusterError."""
        if taken := self._layout.taken():
            raise ClusterError("\n".join(taken))
        try:
            async with asyncio.TaskGroup() as group:
                for service in SERVICES:
                    group.create_task(self._start(service))
        except ExceptionGroup as failed:
            raise _first(failed) from None

    async def watch(self) -> None:
        """Restarts a service that stops. Does not return; ClusterError after too many restarts."""
        try:
            async with asyncio.TaskGroup() as group:
                for service in SERVICES:
                    group.create_task(self._supervise(service))
        except ExceptionGroup as failed:
            raise _first(failed) from None

    async def stop(self) -> None:
        """Stops all services: SIGTERM in order, SIGKILL after the drain time."""
        try:
            for stage in STOP_ORDER:
                running = [process for service in stage if (process := self._running.get(service)) is not None]
                await asyncio.gather(*(process.stop(self._grace) for process in running))
        finally:
            await asyncio.gather(*(process.kill() for process in self._running.values()))
            self._running.clear()

    async def _start(self, service: Service) -> None:
        process = await self._launch(service, self._environ, self._sink)
        self._running[service] = process
        exited = asyncio.create_task(process.exited())
        place = self._layout[service]
        # A certificate need not be for the address on this machine, so that no channel would trust it.
        tls = service is GATEWAY and self._environ.get(CERTIFICATE_VARIABLE)
        serving = asyncio.create_task(process.ready(place.ops_address) if tls else process.serving(place.address))
        try:
            await asyncio.wait({exited, serving}, timeout=self._start_timeout, return_when=asyncio.FIRST_COMPLETED)
            if exited.done():
                raise ClusterError(
                    f"The {service.name} service did not start ({_ending(exited.result())}).", process.tail
                )
            if not serving.done():
                raise ClusterError(
                    f"The {service.name} service was not SERVING within {self._start_timeout:g} seconds.", process.tail
                )
            serving.result()
        finally:
            for task in (exited, serving):
                task.cancel()
            await asyncio.wait({exited, serving})

    async def _supervise(self, service: Service) -> None:
        clock, policy = asyncio.get_running_loop().time, self._policy
        failures, since = 0, clock()
        while True:
            process = self._running[service]
            code = await process.exited()
            failures = 1 if clock() - since >= policy.steady_after else failures + 1
            said = f"The {service.name} service stopped ({_ending(code)})"
            if failures > policy.attempts:
                raise ClusterError(f"{said}, {failures} times in a row.", process.tail)
            wait = min(policy.longest_wait, policy.first_wait * 2 ** (failures - 1))
            self._report(f"{said}. Starting it again in {wait:g} s.")
            await asyncio.sleep(wait)
            since = clock()
            try:
                await self._start(service)
            except ClusterError as error:
                self._report(error.message)
                await self._running[service].kill()
                continue
            self._report(f"The {service.name} service is running again.")


def _status(ops_address: str) -> int:
    connection = HTTPConnection(ops_address, timeout=2.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    finally:
        connection.close()


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _seconds(value: str | None, default: float) -> float:
    try:
        return float(value) if value else default
    except ValueError:
        return default  # the services report what is wrong with it


def _first(group: BaseException) -> BaseException:
    """Returns the first error of a group. Before Python 3.11.4 what an `except*` raises would be in a group again."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
