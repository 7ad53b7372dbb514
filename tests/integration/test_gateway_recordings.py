"""Recordings through the gateway: forwarded as they arrive, bounded, and ended with their call."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from support.servers import running

from gateway.door import proxy
from gateway.door.proxy import ForwardingHandler
from servicekit.app import App
from servicekit.channel import open_channel
from servicekit.errors import DomainError
from servicekit.status import from_rpc_error
from tale.voice.v1 import voice_pb2, voice_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[AsyncIterator[voice_pb2.TranscribeRequest], Context], Awaitable[voice_pb2.TranscribeResponse]]
SERVICE = "tale.voice.v1.VoiceService"
PIECE = 64 * 1024
CONFIG = voice_pb2.TranscribeRequest(config=voice_pb2.TranscribeConfig(content_type="audio/wav"))


class VoiceApp(App):
    """A voice service whose Transcribe does what a test says."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds the one RPC."""
        handler = grpc.stream_unary_rpc_method_handler(
            self._behaviour,
            request_deserializer=voice_pb2.TranscribeRequest.FromString,
            response_serializer=voice_pb2.TranscribeResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Transcribe": handler}),))
        return (SERVICE,)


class DoorApp(App):
    """A gateway of which only the proxy is there."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._handler = ForwardingHandler(storage=channel, voice=channel, story=channel)

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds the proxy."""
        server.add_generic_rpc_handlers((self._handler,))
        return (SERVICE,)


@dataclass(frozen=True)
class Door:
    """The stub of the gateway."""

    stub: Any


@asynccontextmanager
async def door(behaviour: Behaviour) -> AsyncIterator[Door]:
    """The proxy before a scripted voice service."""
    async with AsyncExitStack() as stack:
        voice = await stack.enter_async_context(running(VoiceApp(behaviour), service="voice"))
        channel = await stack.enter_async_context(open_channel(voice.address, health_checked=False))
        gateway = await stack.enter_async_context(running(DoorApp(channel), service="gateway"))
        yield Door(voice_pb2_grpc.VoiceServiceStub(gateway.channel))


def piece(data: bytes) -> voice_pb2.TranscribeRequest:
    return voice_pb2.TranscribeRequest(chunk=data)


async def failure(call: Any) -> DomainError:
    """The error of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_every_byte_arrives_in_order() -> None:
    """A long recording, its pieces as they were cut; the answer comes back as it was made."""
    data = random.Random(7).randbytes(12 << 20)
    sizes: list[int] = []
    digest = hashlib.sha256()

    async def listen(requests: AsyncIterator[voice_pb2.TranscribeRequest], _: Context) -> voice_pb2.TranscribeResponse:
        first = await anext(aiter(requests))
        async for request in requests:
            digest.update(request.chunk)
            sizes.append(len(request.chunk))
        return voice_pb2.TranscribeResponse(text="done", model=first.config.content_type)

    async def recording() -> AsyncIterator[voice_pb2.TranscribeRequest]:
        yield CONFIG
        for start in range(0, len(data), PIECE):
            yield piece(data[start : start + PIECE])

    async with door(listen) as gateway:
        answer = await gateway.stub.Transcribe(recording(), timeout=30)

    assert voice_pb2.TranscribeResponse(text="done", model="audio/wav") == answer
    assert hashlib.sha256(data).digest() == digest.digest()
    assert [PIECE] * (len(data) // PIECE) == sizes


async def test_slow_voice_service_slows_the_caller_down() -> None:
    """What is on its way is bounded by flow control, far below the recording."""
    go_on = asyncio.Event()
    sent = 0

    async def listen(requests: AsyncIterator[voice_pb2.TranscribeRequest], _: Context) -> voice_pb2.TranscribeResponse:
        await anext(aiter(requests))
        await go_on.wait()
        count = [len(request.chunk) async for request in requests]
        return voice_pb2.TranscribeResponse(text=str(sum(count)))

    async def recording() -> AsyncIterator[voice_pb2.TranscribeRequest]:
        nonlocal sent
        yield CONFIG
        for _ in range(800):
            yield piece(bytes(PIECE))
            sent += 1

    async with door(listen) as gateway:
        call = asyncio.ensure_future(gateway.stub.Transcribe(recording(), timeout=60))
        stood_at = await _stands_still(lambda: sent)
        assert 0 < stood_at < 400
        go_on.set()
        answer = await call

    assert str(800 * PIECE) == answer.text


async def test_uploads_beyond_the_places_wait_unread() -> None:
    """Of one owner six are forwarded at a time; the next is read when one has ended, or is refused after a while."""
    begun, may_end = [0], asyncio.Event()

    async def listen(requests: AsyncIterator[voice_pb2.TranscribeRequest], _: Context) -> voice_pb2.TranscribeResponse:
        begun[0] += 1
        if begun[0] <= 6:
            await may_end.wait()
        return voice_pb2.TranscribeResponse(text=str(len([request async for request in requests])))

    def recording() -> Iterator[voice_pb2.TranscribeRequest]:
        yield CONFIG
        yield piece(bytes(PIECE))

    async with door(listen) as gateway:
        calls = [asyncio.ensure_future(gateway.stub.Transcribe(recording(), timeout=60)) for _ in range(6)]
        assert 6 == await _stands_still(lambda: begun[0])
        late = asyncio.ensure_future(gateway.stub.Transcribe(recording(), timeout=60))
        assert 6 == await _stands_still(lambda: begun[0])
        may_end.set()
        answers = await asyncio.gather(*calls, late)

    assert ["2"] * 7 == [answer.text for answer in answers]


async def test_upload_that_waits_for_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """RATE_LIMITED with the time to wait; the voice service hears nothing of it."""
    monkeypatch.setattr(proxy, "_WAIT_SECONDS", 0.05)
    begun, may_end = [0], asyncio.Event()

    async def listen(requests: AsyncIterator[voice_pb2.TranscribeRequest], _: Context) -> voice_pb2.TranscribeResponse:
        begun[0] += 1
        await may_end.wait()
        return voice_pb2.TranscribeResponse(text=str(len([request async for request in requests])))

    async with door(listen) as gateway:
        calls = [asyncio.ensure_future(gateway.stub.Transcribe(iter([CONFIG]), timeout=60)) for _ in range(6)]
        assert 6 == await _stands_still(lambda: begun[0])
        refused = await failure(gateway.stub.Transcribe(iter([CONFIG]), timeout=60))
        may_end.set()
        await asyncio.gather(*calls)

    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED") == (refused.code, refused.reason)
    assert refused.retry_after == 0.05
    assert 6 == begun[0]


async def _stands_still(count: Callable[[], int]) -> int:
    """The count, once it has not changed over twenty looks at it."""
    seen, same = -1, 0
    async with asyncio.timeout(30):
        while same < 20 or seen < 1:
            await asyncio.sleep(0.01)
            same = same + 1 if count() == seen else 0
            seen = count()
    return seen


async def test_refusal_comes_before_the_end_of_the_recording() -> None:
    """The rich error arrives while the caller still has more to send; the rest is not read."""
    never = asyncio.Event()

    async def refuse(requests: AsyncIterator[voice_pb2.TranscribeRequest], _: Context) -> voice_pb2.TranscribeResponse:
        await anext(aiter(requests))
        raise DomainError("INVALID_CONFIGURATION", "Set it up.", metadata={"transcribe": "x"})

    async def recording() -> AsyncIterator[voice_pb2.TranscribeRequest]:
        yield CONFIG
        await never.wait()

    async with door(refuse) as gateway:
        error = await failure(gateway.stub.Transcribe(recording(), timeout=30))

    assert grpc.StatusCode.FAILED_PRECONDITION == error.code
    assert "INVALID_CONFIGURATION" == error.reason
    assert {"transcribe": "x"} == error.metadata


async def test_caller_that_leaves_ends_the_forwarded_call() -> None:
    """The voice service does not continue to read."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def listen(requests: AsyncIterator[voice_pb2.TranscribeRequest], _: Context) -> voice_pb2.TranscribeResponse:
        try:
            await anext(aiter(requests))
            begun.set()
            async for _request in requests:
                pass
        finally:
            ended.set()
        return voice_pb2.TranscribeResponse()

    async def recording() -> AsyncIterator[voice_pb2.TranscribeRequest]:
        yield CONFIG
        await asyncio.Event().wait()

    async with door(listen) as gateway:
        call = gateway.stub.Transcribe(recording(), timeout=30)
        await begun.wait()
        call.cancel()
        async with asyncio.timeout(10):
            await ended.wait()


async def test_deadline_of_the_caller_is_passed_on() -> None:
    """Less a reserve, so that an answer still gets back."""
    left: list[float | None] = []

    async def listen(
        requests: AsyncIterator[voice_pb2.TranscribeRequest], context: Context
    ) -> voice_pb2.TranscribeResponse:
        left.append(context.time_remaining())
        async for _ in requests:
            pass
        return voice_pb2.TranscribeResponse()

    async def recording() -> AsyncIterator[voice_pb2.TranscribeRequest]:
        yield CONFIG

    async with door(listen) as gateway:
        await gateway.stub.Transcribe(recording(), timeout=40)
        await gateway.stub.Transcribe(recording())

    assert left[0] is not None
    assert left[1] is not None
    assert 20 < left[0] < 40
    assert 100 < left[1] <= 130


async def test_unreachable_voice_service_is_reported() -> None:
    """UNAVAILABLE with the time to wait, in the middle of a recording too."""
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(open_channel("127.0.0.1:1", health_checked=False))
        gateway = await stack.enter_async_context(running(DoorApp(channel), service="gateway"))
        stub: Any = voice_pb2_grpc.VoiceServiceStub(gateway.channel)

        async def recording() -> AsyncIterator[voice_pb2.TranscribeRequest]:
            yield CONFIG
            yield piece(bytes(PIECE))

        error = await failure(stub.Transcribe(recording(), timeout=10))

    assert grpc.StatusCode.UNAVAILABLE == error.code
    assert "UPSTREAM_UNAVAILABLE" == error.reason
    assert error.retry_after


async def test_oversized_message_ends_the_call_on_both_sides() -> None:
    """gRPC's limit of 4 MiB: the caller gets the error, and the voice service does not wait for more."""
    heard, ended = asyncio.Event(), asyncio.Event()

    async def listen(requests: AsyncIterator[voice_pb2.TranscribeRequest], _: Context) -> voice_pb2.TranscribeResponse:
        try:
            async for request in requests:
                heard.set()
                assert len(request.chunk) <= PIECE
        finally:
            ended.set()
        return voice_pb2.TranscribeResponse()

    async def recording() -> AsyncIterator[voice_pb2.TranscribeRequest]:
        yield CONFIG
        yield piece(bytes(PIECE))
        # A call that is refused before its first message is forwarded reaches no voice service.
        await heard.wait()
        yield piece(bytes(5 << 20))

    async with door(listen) as gateway:
        error = await failure(gateway.stub.Transcribe(recording(), timeout=20))
        async with asyncio.timeout(10):
            await ended.wait()

    assert grpc.StatusCode.OK is not error.code


async def test_rpc_outside_the_allow_list_is_not_forwarded() -> None:
    """Speech is made for stories alone, past no ledger."""

    async def never(requests: AsyncIterator[voice_pb2.TranscribeRequest], _: Context) -> voice_pb2.TranscribeResponse:
        del requests
        raise AssertionError("called")

    async with door(never) as gateway:
        call = gateway.stub.SynthesizeSpeech(iter([voice_pb2.SynthesizeSpeechRequest()]), timeout=10)
        error = await failure(call.read())

    assert grpc.StatusCode.UNIMPLEMENTED is error.code
