"""Runs one service as a process."""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import grpc

from tale_cluster.layout import Service

_TAIL_LINES: Final = 20
_LINE_BYTES: Final = 16 * 1024
_HEALTH_CHECK: Final = "/grpc.health.v1.Health/Check"
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
        async with grpc.aio.insecure_channel(address, options=(("grpc.max_reconnect_backoff_ms", 200),)) as channel:
            check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_HEALTH_CHECK)
            while True:
                try:
                    if await check(b"", timeout=2.0) == _SERVING:
                        return
                except grpc.aio.AioRpcError as error:
                    if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                        raise
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
