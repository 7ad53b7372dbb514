"""`python -m servicekit.healthcheck`, which container engines run."""

import asyncio
import sys
from pathlib import Path

import pytest
from support.rpcs import Context, RawApp
from support.servers import running

from servicekit.settings import ServiceSettings
from standins.processes import free_ports

ROOT = Path(__file__).resolve().parents[2]


async def fine(_: Context) -> bytes:
    """A behaviour without events."""
    return b"fine"


async def healthcheck(*arguments: str) -> tuple[int | None, str]:
    """Exit code and output of the program, started as in the containers: without site-packages."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-S",
        "-m",
        "servicekit.healthcheck",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(20):
        output, _ = await process.communicate()
    return process.returncode, output.decode().strip()


class Starting(RawApp):
    """Takes its time to start."""

    def __init__(self) -> None:
        super().__init__(fine)
        self.starting = asyncio.Event()
        self.may_start = asyncio.Event()

    async def start(self) -> None:
        """Waits to be let go on."""
        self.starting.set()
        await self.may_start.wait()


async def test_a_service_that_takes_calls_is_healthy() -> None:
    """Exit code 0."""
    async with running(RawApp(fine)) as service:
        assert (0, "HTTP/1.0 200 OK") == await healthcheck(service.server.ops_address)


async def test_a_service_that_is_not_ready_is_unhealthy() -> None:
    """It listens, but says 503 while it starts: exit code 1."""
    app = Starting()
    address = f"127.0.0.1:{free_ports(1)[0]}"
    settings = ServiceSettings(ops_listen=address)

    async def serve() -> None:
        async with running(app, settings=settings):
            pass

    task = asyncio.create_task(serve())
    await app.starting.wait()
    assert (1, "HTTP/1.0 503 Service Unavailable") == await healthcheck(address)
    app.may_start.set()
    await task


async def test_nobody_there_is_unhealthy() -> None:
    """Exit code 1, and why."""
    code, said = await healthcheck(f"127.0.0.1:{free_ports(1)[0]}")
    assert 1 == code
    assert "refused" in said


@pytest.mark.parametrize("arguments", [(), ("127.0.0.1:1", "127.0.0.1:2")])
async def test_a_wrong_call_says_how_it_is_used(arguments: tuple[str, ...]) -> None:
    """One line on how to use it."""
    assert (1, "usage: python -m servicekit.healthcheck HOST:PORT") == await healthcheck(*arguments)
