"""The cluster as real processes on free loopback ports, to be killed and started again."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servicekit.channel import open_channel

START_SECONDS = 30.0
MODULES = {
    "storage": "storage_service",
    "story": "story_service",
    "voice": "voice_service",
    "gateway": "gateway",
}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Cluster:
    """Four processes over one data folder."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        ports = free_ports(2 * len(MODULES))
        self.addresses = {name: f"127.0.0.1:{port}" for name, port in zip(MODULES, ports[:4], strict=True)}
        self._folder = folder
        self._environment = {
            **{key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}},
            "TALE_DATA_DIR": str(folder / "data"),
            "LOG_FORMAT": "json",
            "DRAIN_SECONDS": "5",
            **{f"{name.upper()}_LISTEN": address for name, address in self.addresses.items()},
            **{
                f"{name.upper()}_OPS_LISTEN": f"127.0.0.1:{port}" for name, port in zip(MODULES, ports[4:], strict=True)
            },
            **{f"{name.upper()}_TARGET": f"dns:///{address}" for name, address in self.addresses.items()},
            **environment,
        }
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._logs: list[IO[bytes]] = []

    @property
    def target(self) -> str:
        """Where the gateway listens."""
        return self.addresses["gateway"]

    def channel(self, name: str = "gateway") -> grpc.aio.Channel:
        """A channel to a service."""
        return open_channel(self.addresses[name])

    def pid(self, name: str) -> int:
        """The process of a service."""
        return self._processes[name].pid

    def log(self, name: str) -> str:
        """What a service has logged so far."""
        return (self._folder / f"{name}.log").read_text()

    async def start(self, *names: str) -> None:
        """Starts the services (all by default) and waits until they serve."""
        for name in names or MODULES:
            log = (self._folder / f"{name}.log").open("ab")
            self._logs.append(log)
            self._processes[name] = await asyncio.create_subprocess_exec(
                sys.executable, "-m", MODULES[name], env=self._environment, stdout=log, stderr=log, cwd=self._folder
            )
        await asyncio.gather(*(self.serving(name) for name in names or MODULES))

    async def serving(self, name: str) -> None:
        """Returns once a service says that it serves."""
        watching = asyncio.create_task(self._watch_health(name))
        gone = asyncio.create_task(self._processes[name].wait())
        await asyncio.wait({watching, gone}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        served = watching.done() and watching.exception() is None
        for task in (watching, gone):
            task.cancel()
        await asyncio.gather(watching, gone, return_exceptions=True)
        if not served:
            log = await asyncio.to_thread(self.log, name)
            raise AssertionError(f"{name} never served:\n{log}")

    async def _watch_health(self, name: str) -> None:
        while not await self._serves(name):  # noqa: ASYNC110 - a process that starts tells nobody
            # The connection broke before there was an answer; whether the process is gone is watched elsewhere.
            await asyncio.sleep(0.05)

    async def _serves(self, name: str) -> bool:
        async with self.channel(name) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watch = stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            try:
                async for answer in watch:
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        watch.cancel()
                        return True
            except grpc.aio.AioRpcError:
                return False
        return False

    async def kill(self, name: str) -> None:
        """SIGKILL, and waits until the process is gone."""
        process = self._processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def terminate(self, name: str) -> int:
        """SIGTERM, and waits for the exit code."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return await process.wait()

    async def close(self) -> None:
        """Kills what still runs."""
        for name in list(self._processes):
            await self.kill(name)
        for log in self._logs:
            log.close()


@asynccontextmanager
async def cluster(folder: Path, **environment: str) -> AsyncIterator[Cluster]:
    """A cluster that serves; killed at the end."""
    it = Cluster(folder, environment)
    try:
        await it.start()
        yield it
    finally:
        await it.close()
