"""A TCP proxy that cuts connections after given numbers of bytes."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager


class CuttingProxy:
    """Passes bytes both ways; connection N is reset after `cuts[N]` bytes from the server, later ones never."""

    def __init__(self, target: str, cuts: Sequence[int]) -> None:
        self.target = ""
        self.connections = 0
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._cuts = deque(cuts)
        self._tasks: set[asyncio.Task[None]] = set()
        self._away = False

    def leave(self) -> None:
        """Breaks all connections, and resets new ones until `come_back`."""
        self._away = True
        for task in self._tasks:
            task.cancel()

    def come_back(self) -> None:
        """Lets connections through again."""
        self._away = False

    @property
    def left(self) -> int:
        """Cuts that were not made yet."""
        return len(self._cuts)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        if self._away:
            writer.transport.abort()
            return
        allowance = self._cuts.popleft() if self._cuts else None
        upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
        there = asyncio.create_task(self._pass(reader, upstream_writer, None))
        back = asyncio.create_task(self._pass(upstream_reader, writer, allowance))
        self._tasks |= {there, back}
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Before anything is awaited, for this may be cancelled while it waits.
            for end in (writer, upstream_writer):
                end.transport.abort()
            for task in (there, back):
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            self._tasks -= {there, back}
            for end in (writer, upstream_writer):
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, allowance: int | None) -> None:
        while data := await reader.read(4096):
            if allowance is not None and len(data) >= allowance:
                writer.write(data[:allowance])
                await writer.drain()
                return
            allowance = None if allowance is None else allowance - len(data)
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def cutting_proxy(target: str, cuts: Sequence[int], *, port: int = 0) -> AsyncIterator[CuttingProxy]:
    """A proxy before `target` ("host:port") on `port`, 0 for a free one."""
    proxy = CuttingProxy(target, cuts)
    connections: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await proxy.serve(reader, writer)
        except ConnectionError:
            # The other side went away, and so this connection is over.
            writer.transport.abort()

    # No coroutine: a connection that comes as the test ends must be known, or nobody would close it.
    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        task = asyncio.create_task(serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    proxy.target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def refusing() -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A port whose connections are reset at once, and an event that the first of them sets."""
    tried = asyncio.Event()

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tried.set()
        writer.transport.abort()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], tried
