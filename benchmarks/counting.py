"""A TCP proxy that counts the bytes of answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_PIECE_BYTES = 1 << 18


class CountingProxy:
    """Forwards connections to one address; `received` counts the bytes that came back from there."""

    def __init__(self, upstream: str) -> None:
        self.address = ""
        self.received = 0
        self._upstream = upstream

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forwards one connection until either side closes it."""
        host, _, port = self._upstream.rpartition(":")
        with contextlib.closing(writer), contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            with contextlib.closing(far_writer):
                there = asyncio.create_task(self._forward(reader, far_writer, counted=False))
                back = asyncio.create_task(self._forward(far_reader, writer, counted=True))
                await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
                for task in (there, back):
                    task.cancel()
                await asyncio.gather(there, back, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        while piece := await reader.read(_PIECE_BYTES):
            if counted:
                self.received += len(piece)
            writer.write(piece)
            await writer.drain()


@asynccontextmanager
async def counting_proxy(upstream: str) -> AsyncIterator[CountingProxy]:
    """Runs a proxy on a free loopback port."""
    proxy = CountingProxy(upstream)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    proxy.address = f"{host}:{port}"
    try:
        yield proxy
    finally:
        server.close()
