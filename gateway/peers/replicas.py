"""The replicas behind a target, each with a channel of its own."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import grpc

from servicekit.channel import open_channel

_DNS: Final = "dns"
_NUMERIC: Final = frozenset({"ipv4", "ipv6"})
_RESOLVE_SECONDS: Final = 2.0

MAX_REPLICAS: Final = 32
"""Most replicas of one service that are asked one by one."""


@asynccontextmanager
async def each_replica(target: str) -> AsyncGenerator[Sequence[grpc.aio.Channel], None]:
    """A channel to each address of `target`, open as long as the block; none where there are not several addresses."""
    async with AsyncExitStack() as stack:
        found = await addresses(target)
        channels = [open_channel(each, health_checked=False) for each in (found if len(found) > 1 else ())]
        for channel in channels:
            stack.push_async_callback(channel.close)
        yield channels


async def addresses(target: str) -> list[str]:
    """The addresses of "dns:///host:port" or of "ipv4:a:1,b:2", in order, as targets of their own.

    None for anything else, and where the name cannot be resolved within two seconds.
    """
    parts = urlsplit(target)
    if parts.scheme in _NUMERIC:
        return sorted({f"{parts.scheme}:{each}" for each in parts.path.split(",") if each})[:MAX_REPLICAS]
    host, colon, port = parts.path.removeprefix("/").rpartition(":")
    # A name server that is named in the target is asked by gRPC alone.
    if parts.scheme != _DNS or parts.netloc or not colon or not port.isascii() or not port.isdigit():
        return []
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, OverflowError, UnicodeError, TimeoutError):
        return []
    told = {
        f"ipv6:[{address[0]}]:{port}" if family is socket.AF_INET6 else f"ipv4:{address[0]}:{port}"
        for family, _, _, _, address in found
        if family in {socket.AF_INET, socket.AF_INET6} and isinstance(address[0], str)
    }
    return sorted(told)[:MAX_REPLICAS]
