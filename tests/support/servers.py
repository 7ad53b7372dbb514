"""Services in the test's own process, on ports of the system's choice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from servicekit.app import App
from servicekit.authentication import Authenticator
from servicekit.channel import open_channel
from servicekit.runner import MOST_CALLS
from servicekit.server import Server
from servicekit.settings import ServiceSettings


@dataclass(frozen=True, slots=True)
class Running:
    """A service that runs: its server, where it listens, and a channel to it."""

    server: Server
    address: str
    channel: grpc.aio.Channel


@asynccontextmanager
async def running(
    app: App,
    *,
    service: str = "test",
    settings: ServiceSettings | None = None,
    authenticator: Authenticator | None = None,
    drain_seconds: float = 1.0,
    most_calls: int = MOST_CALLS,
) -> AsyncIterator[Running]:
    """Runs `app` as its process would, without signals and logs, and drains it at the end.

    Without `settings` it gets free loopback ports. A test that ends with calls open waits `drain_seconds` for them.
    """
    settings = settings or ServiceSettings(drain_seconds=drain_seconds)
    app.authenticator = authenticator or app.authenticator
    server = Server(app, settings, service=service, most_calls=most_calls)
    await server.start()
    try:
        async with open_channel(server.address, health_checked=False) as channel:
            if app.credentials is None:
                # Without TLS it does not get through to a port that has it.
                await channel.channel_ready()
            yield Running(server, server.address, channel)
    finally:
        await server.drain()
