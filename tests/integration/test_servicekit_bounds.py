"""What a caller that does everything wrong can hold of a server: places, memory, connections."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from aiohttp import ClientSession
from support.rpcs import SERVICE, Context, RawApp, answer, call, failure
from support.servers import running

from servicekit import server as server_module
from servicekit.authentication import Anonymous, Metadata
from servicekit.context import Caller
from servicekit.metrics import Metrics
from servicekit.ops import OpsServer
from servicekit.resilience.manager import BreakerManager
from servicekit.status import from_rpc_error
from tale.common.v1 import status_pb2, status_pb2_grpc


class ByName:
    """Takes the owner that a caller names."""

    async def authenticate(self, method: str, metadata: Metadata) -> Caller:
        """Returns it."""
        del method
        return Caller(str(dict(metadata)["name"]))


class Holding(RawApp):
    """Holds every call until it may end."""

    def __init__(self) -> None:
        super().__init__(self._hold)
        self.counts = self.metrics = Metrics()
        self.waiting = asyncio.Semaphore(0)
        self.may_end = asyncio.Event()

    async def _hold(self, _: Context) -> bytes:
        self.waiting.release()
        await self.may_end.wait()
        return b"held"


async def test_one_caller_leaves_as_many_places_as_it_has() -> None:
    """It is refused with a time to wait, and counted; others get in, and may use what it leaves; status is answered."""
    app, mia, ben = Holding(), [("name", "mia")], [("name", "ben")]
    async with running(app, authenticator=ByName(), most_calls=8) as service:
        mine = [asyncio.create_task(answer(service.channel, "UnaryStream", metadata=mia)) for _ in range(4)]
        for _ in mine:
            await app.waiting.acquire()
        for kind in ("UnaryUnary", "StreamUnary", "UnaryStream", "StreamStream"):
            refused = from_rpc_error(await failure(service.channel, kind, metadata=mia))
            assert "OVERLOADED" == refused.reason
            assert 1.0 <= (refused.retry_after or 0.0) <= 2.0
        assert 4 == app.counts.registry.get_sample_value("grpc_server_overloaded_total")
        others = [asyncio.create_task(answer(service.channel, "UnaryUnary", metadata=ben)) for _ in range(2)]
        for _ in others:
            await app.waiting.acquire()
        assert "OVERLOADED" == from_rpc_error(await failure(service.channel, "UnaryUnary", metadata=ben)).reason
        status: Any = status_pb2_grpc.StatusServiceStub(service.channel)
        assert await status.GetStatus(status_pb2.GetStatusRequest(), timeout=10, metadata=mia)
        app.may_end.set()
        assert [b"held"] * 6 == await asyncio.gather(*mine, *others)
        assert b"held" == await answer(service.channel, "UnaryUnary", metadata=mia)


async def test_callers_without_a_name_are_told_apart_by_address() -> None:
    """All of one address are one caller, however many connections they have."""
    app = Holding()
    async with running(app, authenticator=Anonymous(), most_calls=4) as service:
        calls = [asyncio.create_task(answer(service.channel, "UnaryUnary")) for _ in range(2)]
        for _ in calls:
            await app.waiting.acquire()
        own = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(service.address, options=own) as another:
            assert "OVERLOADED" == from_rpc_error(await failure(another, "UnaryUnary")).reason
        app.may_end.set()
        await asyncio.gather(*calls)


async def test_callers_without_a_name_are_limited_by_address() -> None:
    """Those with a name by that, wherever they call from."""
    seen = list[str]()

    async def limit(caller: str) -> None:
        seen.append(caller)

    app = Holding()
    app.limit = limit
    app.may_end.set()
    async with running(app, authenticator=Anonymous()) as service:
        assert b"held" == await answer(service.channel, "UnaryUnary")
    named = Holding()
    named.limit = limit
    named.may_end.set()
    async with running(named, authenticator=ByName()) as service:
        assert b"held" == await answer(service.channel, "UnaryUnary", metadata=[("name", "mia")])
    assert ["ipv4:127.0.0.1", "mia"] == seen


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
async def test_message_that_does_not_come_is_not_waited_for(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call without its message counts as one of its caller, and ends after a while."""
    monkeypatch.setattr("servicekit.interceptor._MESSAGE_SECONDS", 0.3)
    app = Holding()
    app.may_end.set()
    async with running(app, authenticator=Anonymous()) as service:
        method = f"/{SERVICE}/{kind.title().replace('_', '')}"
        # A stream of requests to the client is the same on the wire.
        silent: Any = service.channel.stream_stream(method)(timeout=20)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await silent.read()
        assert "VALIDATION_FAILED" == from_rpc_error(caught.value).reason
        assert b"held" == await answer(service.channel, "UnaryUnary")


async def test_what_is_not_read_is_not_taken() -> None:
    """A stream of which the handler reads nothing takes less than a megabyte, however much its caller sends."""
    app, piece = Holding(), bytes(64 << 10)
    async with running(app) as service:
        sending: Any = service.channel.stream_unary(f"/{SERVICE}/StreamUnary")(timeout=60)
        written = [0]

        async def send() -> None:
            while sum(written) < 64 << 20:
                await asyncio.wait_for(sending.write(piece), 2)
                written.append(len(piece))

        with pytest.raises(TimeoutError):
            await send()
        sending.cancel()
        app.may_end.set()
    assert sum(written) < 1 << 20


async def test_connection_that_sends_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it stay with half the preface of HTTP/2."""
    options = [(name, 300 if "handshake" in name else value) for name, value in server_module._OPTIONS]
    monkeypatch.setattr(server_module, "_OPTIONS", tuple(options))
    async with running(Holding()) as service:
        host, _, port = service.address.rpartition(":")
        for sent in (b"", b"PRI * HTTP/2.0\r\n"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(sent)
            await asyncio.wait_for(_ended(reader), 10)
            writer.close()


async def _ended(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


@asynccontextmanager
async def operators(**bounds: Any) -> AsyncIterator[str]:
    """The address of an operators' port with these bounds."""
    ops = OpsServer(lambda: True, Metrics(), BreakerManager(), **bounds)
    await ops.start("127.0.0.1:0")
    try:
        yield ops.address
    finally:
        await ops.stop()


HALVES = {
    "nothing": b"",
    "half a request line": b"GET /heal",
    "half the headers": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A",
    "half a body": b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
    "half a chunk": b"POST /readyz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "a request, and no other": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("sent", HALVES.values(), ids=HALVES)
async def test_half_open_request_ends(sent: bytes) -> None:
    """Its connection is closed, and others are served meanwhile."""
    async with operators(request_seconds=0.3) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        async with ClientSession() as session, session.get(f"http://{address}/healthz") as page:
            assert 200 == page.status
        await asyncio.wait_for(_ended(reader), 10)
        writer.close()


async def test_half_open_request_is_not_kept_open_by_a_byte_now_and_then() -> None:
    """The time is that of the whole request."""
    async with operators(request_seconds=0.3) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        ended, began = asyncio.create_task(_ended(reader)), time.monotonic()
        writer.write(b"GET /healthz HTTP/1.1\r\nX-A: ")
        while not ended.done() and time.monotonic() - began < 10:
            writer.write(b"a")
            await asyncio.wait({ended}, timeout=0.02)
        assert ended.done()
        writer.close()


async def test_connections_of_operators_are_bounded() -> None:
    """Of too many the oldest are closed: a probe gets in."""
    async with operators(request_seconds=60, most_connections=4) as address:
        host, _, port = address.rpartition(":")
        opened = []
        for _ in range(12):
            opened.append(await asyncio.open_connection(host, int(port)))
            # Else the server would take several in one turn.
            await asyncio.sleep(0.01)
        async with ClientSession() as session, session.get(f"http://{address}/healthz") as page:
            assert 200 == page.status
        await asyncio.wait_for(asyncio.gather(*(_ended(reader) for reader, _ in opened[:8])), 10)
        for _, writer in opened:
            writer.close()


async def test_streams_of_one_connection_are_bounded() -> None:
    """At the door; what is beyond waits at the caller, and other connections are served."""
    app = Holding()
    async with running(app, authenticator=Anonymous()) as service:
        calls = [call(service.channel, "UnaryStream", timeout=60) for _ in range(1_030)]
        for _ in range(1_024):
            await app.waiting.acquire()
        assert 1_024 == service.server.in_flight
        own = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(service.address, options=own) as another:
            waiting = asyncio.create_task(answer(another, "UnaryUnary"))
            await asyncio.wait_for(app.waiting.acquire(), 10)
            app.may_end.set()
            assert b"held" == await waiting
        for each in calls:
            each.cancel()
