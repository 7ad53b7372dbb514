"""Runs the cluster as real processes on free loopback ports, to be killed and restarted."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import IO, Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servicekit.channel import open_channel

START_SECONDS: Final = 30.0
MODULES: Final = {
    "storage": "storage_service",
    "story": "story_service",
    "voice": "voice_service",
    "gateway": "gateway",
}
_INHERITED: Final = {"PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR"}


@cache
def _own_ports() -> Iterator[int]:
    """Yields the ports of a block that this process alone uses, one after the other, again and again.

    The blocks lie below the ports that the system gives to servers that name none: such a server of another test would
    take the port of a process that was killed, and answer in its place. The first port of a block stays bound, so no
    other process that uses this function takes the block.
    """

    def ports() -> Iterator[int]:
        for first in range(10_000, 32_000, 200):
            with socket.socket() as guard, contextlib.suppress(OSError):
                guard.bind(("127.0.0.1", first))
                yield from cycle(range(first + 1, first + 200))

    return ports()


def free_ports(count: int) -> list[int]:
    """Returns ports on which nothing listens now, and that no other test is given."""
    found: list[int] = []
    while len(found) < count:
        port = next(_own_ports())
        with socket.socket() as each, contextlib.suppress(OSError):
            each.bind(("127.0.0.1", port))
            found.append(port)
    return found


@dataclass(frozen=True, slots=True)
class Address:
    """Addresses of one replica: for gRPC, and for operators over HTTP."""

    grpc: str
    ops: str


class Cluster:
    """Processes of the four services over one data folder; the replicas of a service are numbered from 1.

    `replicas` names the services that have several: every process knows their addresses, however late they start.
    Any other replica gets its ports at its first start, and only processes that start later call it. `wrappers` are
    commands that start the processes of a service, whose own command follows; their working folder is that of the
    cluster, with the store in `data`.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        *,
        replicas: Mapping[str, int] | None = None,
        wrappers: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        counts = {name: (replicas or {}).get(name, 1) for name in MODULES}
        ports = iter(free_ports(2 * sum(counts.values())))
        self._places = {
            (name, replica): Address(f"127.0.0.1:{next(ports)}", f"127.0.0.1:{next(ports)}")
            for name, count in counts.items()
            for replica in range(1, count + 1)
        }
        self._folder = folder
        self._environment = dict(environment)
        self._wrappers = dict(wrappers or {})
        self._processes: dict[tuple[str, int], asyncio.subprocess.Process] = {}
        self._logs: list[IO[bytes]] = []

    @property
    def target(self) -> str:
        """Returns the target of the gateway with all its replicas."""
        return self._target("gateway").removeprefix("dns:///")

    def address(self, name: str, replica: int = 1) -> Address:
        """Returns the address of a replica of a service; ports are chosen on first use."""
        if (name, replica) not in self._places:
            self._places[name, replica] = Address(*(f"127.0.0.1:{port}" for port in free_ports(2)))
        return self._places[name, replica]

    def channel(self, name: str = "gateway", replica: int = 1) -> grpc.aio.Channel:
        """Opens a channel to a service."""
        return open_channel(self.address(name, replica).grpc)

    def pid(self, name: str, replica: int = 1) -> int:
        """Returns the process of a service."""
        return self._processes[name, replica].pid

    def log(self, name: str, replica: int = 1) -> str:
        """Returns what a service has logged so far, over all its starts."""
        return self._log_path(name, replica).read_text()

    async def start(self, *names: str, replica: int = 1, **environment: str) -> None:
        """Starts a replica of the services (all by default) and waits until they serve."""
        chosen = names or tuple(MODULES)
        for name in chosen:
            self.address(name, replica)
        for name in chosen:
            log = self._log_path(name, replica).open("ab")
            self._logs.append(log)
            self._processes[name, replica] = await asyncio.create_subprocess_exec(
                *self._wrappers.get(name, ()),
                sys.executable,
                "-m",
                MODULES[name],
                env=self._process_environment(name, replica) | environment,
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        await asyncio.gather(*(self.serving(name, replica) for name in chosen))

    async def serving(self, name: str, replica: int = 1) -> None:
        """Returns once a service reports that it serves; AssertionError with its log if it never does."""
        watching = asyncio.create_task(self._watch_health(name, replica))
        gone = asyncio.create_task(self._processes[name, replica].wait())
        await asyncio.wait({watching, gone}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        served = watching.done() and watching.exception() is None
        for task in (watching, gone):
            task.cancel()
        await asyncio.gather(watching, gone, return_exceptions=True)
        if not served:
            log = await asyncio.to_thread(self.log, name, replica)
            raise AssertionError(f"{name} never served:\n{log}")

    async def kill(self, name: str, replica: int = 1) -> None:
        """Sends SIGKILL and waits until the process is gone."""
        process = self._processes.pop((name, replica))
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def terminate(self, name: str, replica: int = 1) -> int:
        """Sends SIGTERM and returns the exit code."""
        self._processes[name, replica].send_signal(signal.SIGTERM)
        return await self.ended(name, replica)

    async def ended(self, name: str, replica: int = 1) -> int:
        """Waits until the process has ended by itself and returns its exit code."""
        code = await self._processes[name, replica].wait()
        del self._processes[name, replica]
        return code

    async def close(self) -> None:
        """Kills the processes that still run."""
        for name, replica in list(self._processes):
            await self.kill(name, replica)
        for log in self._logs:
            log.close()

    def _log_path(self, name: str, replica: int) -> Path:
        return self._folder / (f"{name}.log" if replica == 1 else f"{name}-{replica}.log")

    def _process_environment(self, name: str, replica: int) -> dict[str, str]:
        address = self._places[name, replica]
        return {
            **{key: value for key, value in os.environ.items() if key in _INHERITED},
            "TALE_DATA_DIR": str(self._folder / "data"),
            "LOG_FORMAT": "json",
            "DRAIN_SECONDS": "5",
            f"{name.upper()}_LISTEN": address.grpc,
            f"{name.upper()}_OPS_LISTEN": address.ops,
            **{f"{each.upper()}_TARGET": self._target(each) for each in MODULES},
            # A page beside those of other clusters.
            "GATEWAY_WEB_LISTEN": "127.0.0.1:0",
            **self._environment,
        }

    def _target(self, name: str) -> str:
        addresses = [address.grpc for (each, _), address in self._places.items() if each == name]
        return f"dns:///{addresses[0]}" if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"

    async def _watch_health(self, name: str, replica: int) -> None:
        while not await self._serves(name, replica):  # noqa: ASYNC110 - a process that starts sends no event
            # The connection broke before there was an answer; whether the process is gone is watched elsewhere.
            await asyncio.sleep(0.05)

    async def _serves(self, name: str, replica: int) -> bool:
        async with self.channel(name, replica) as channel:
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


@asynccontextmanager
async def cluster(folder: Path, **environment: str) -> AsyncIterator[Cluster]:
    """Runs a cluster with one replica of each service; kills it at the end."""
    it = Cluster(folder, environment)
    try:
        await it.start()
        yield it
    finally:
        await it.close()
