"""A proxy over HTTP and SOCKS 5 on one port: it notes what it was asked for, and leads every call to one server.

async with recording_proxy(server_address) as proxy:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    ...  # a client of https://voice.example
    assert proxy.asked == ["voice.example:443"]
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

_SOCKS5: Final = b"\x05"
_NAME: Final = 3
_GRANTED: Final = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"


@dataclass(slots=True)
class RecordingProxy:
    """A running proxy."""

    host: str
    port: int = 0
    asked: list[str] = field(default_factory=list)
    """Where each call was to go, "host:port"."""

    @property
    def url(self) -> str:
        """The address as an HTTP proxy."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def socks_url(self) -> str:
        """The address as a SOCKS proxy."""
        return f"socks5://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes a connection."""
        first = await reader.read(1)
        place, request = await (_socks if first == _SOCKS5 else _http)(first, reader, writer)
        self.asked.append(place)
        host, _, port = self.host.rpartition(":")
        upstream, sink = await asyncio.open_connection(host, int(port))
        sink.write(request)
        await asyncio.gather(_pump(reader, sink), _pump(upstream, writer), return_exceptions=True)


async def _socks(_: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, bytes]:
    await reader.readexactly((await reader.readexactly(1))[0])
    writer.write(b"\x05\x00")
    kind = (await reader.readexactly(4))[3]
    if kind == _NAME:
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
    else:
        host = socket.inet_ntop(socket.AF_INET, await reader.readexactly(4))
    port = int.from_bytes(await reader.readexactly(2))
    writer.write(_GRANTED)
    return f"{host}:{port}", b""


async def _http(first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, bytes]:
    head = first + await reader.readuntil(b"\r\n\r\n")
    line, rest = head.split(b"\r\n", 1)
    method, target, _ = line.decode().split(" ")
    if method == "CONNECT":
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return target, b""
    parts = urlsplit(target)
    path = parts._replace(scheme="", netloc="").geturl() or "/"
    # One call a connection, so that each is noted.
    return f"{parts.hostname}:{parts.port or 80}", f"{method} {path} HTTP/1.1\r\nConnection: close\r\n".encode() + rest


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with closing(writer):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def recording_proxy(host: str) -> AsyncIterator[RecordingProxy]:
    """Runs a proxy on a free loopback port that leads every call to `host` ("host:port")."""
    proxy = RecordingProxy(host)
    serving = set[asyncio.Task[None]]()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(proxy.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
