"""Calls for audio over a connection that breaks, on any byte that matters, and through a proxy."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from support.elevenlabs_fake import RACHEL, elevenlabs_config, elevenlabs_fake

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.ports import SegmentRequest, SpeechItem
from voice_service.providers.elevenlabs.client import SpeechClient
from voice_service.providers.elevenlabs.models import speech_call
from voice_service.providers.elevenlabs.provider import ElevenLabsProvider

OK = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = OK + b"Content-Length: 100\r\n\r\n"
REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\n"
REQUEST = SegmentRequest(text="Good night.", language_code="en", voice_id=RACHEL)


@asynccontextmanager
async def _server(answer: bytes, *, resets: bool) -> AsyncIterator[str]:
    """Answers every request with the same bytes, and then closes the connection or resets it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        writer.write(answer)
        await writer.drain()
        if resets:
            # Closing without lingering sends RST.
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"


async def _failure(url: str, **more: Any) -> ProviderError:
    provider = ElevenLabsProvider(elevenlabs_config(url, **more))
    try:
        with pytest.raises(ProviderError) as caught:
            await _spoken(provider)
    finally:
        await provider.aclose()
    return caught.value


async def _spoken(provider: ElevenLabsProvider) -> list[SpeechItem]:
    async with aclosing(provider.synthesize(REQUEST)) as items:
        return [item async for item in items]


@pytest.mark.parametrize("resets", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", ProviderErrorKind.TRANSPORT),
        (b"HTTP/1.1 200", ProviderErrorKind.TRANSPORT),
        (OK, ProviderErrorKind.TRANSPORT),
        (CHUNKED, ProviderErrorKind.TRANSPORT),
        (SIZED, ProviderErrorKind.TRANSPORT),
        (CHUNKED + b"64\r\nsound", ProviderErrorKind.TRUNCATED),
        (CHUNKED + b"5\r\nsound\r\n", ProviderErrorKind.TRUNCATED),
        (SIZED + b"sound", ProviderErrorKind.TRUNCATED),
        (REFUSED + b"Content-Length: 100\r\n\r\n{", ProviderErrorKind.TRANSPORT),
    ],
    ids=["nothing", "half a status", "half a head", "head", "sized head", "half a chunk", "chunk", "sized", "refusal"],
)
async def test_an_answer_that_breaks_off_is_truncated_once_some_of_its_body_has_come(
    answer: bytes, kind: ProviderErrorKind, resets: bool
) -> None:
    """However the connection ends."""
    async with _server(answer, resets=resets) as url:
        assert kind == (await _failure(url)).kind


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", ProviderErrorKind.TRANSPORT),
        (CHUNKED + b"zz\r\n", ProviderErrorKind.TRANSPORT),
        (CHUNKED + b"100000\r\n" + bytes(0x100000) + b"\r\nzz\r\n", ProviderErrorKind.TIMEOUT),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nsound", ProviderErrorKind.TRANSPORT),
    ],
    ids=["another protocol", "chunk", "second chunk", "packing"],
)
async def test_an_answer_that_is_no_http_is_an_error(answer: bytes, kind: ProviderErrorKind) -> None:
    """At once, or when the time to read more is over."""
    async with _server(answer, resets=False) as url:
        assert kind == (await _failure(url, read_seconds=1.0)).kind


async def test_a_server_that_accepts_and_does_not_answer_times_out() -> None:
    """By the time to connect and the time between two reads."""
    async with asyncio.timeout(30), elevenlabs_fake() as fake:
        fake.hold = asyncio.Event()

        assert ProviderErrorKind.TIMEOUT == (await _failure(fake.url, connect_seconds=0.5, read_seconds=0.1)).kind


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "ftp://127.0.0.1", "http://"])
async def test_an_address_that_is_none_is_an_error_of_transport(url: str) -> None:
    """And no defect."""
    assert ProviderErrorKind.TRANSPORT == (await _failure(url)).kind


async def test_calls_go_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audio and lists alike."""
    async with elevenlabs_fake() as fake:
        monkeypatch.setenv("http_proxy", fake.url)
        monkeypatch.setenv("no_proxy", "")
        provider = ElevenLabsProvider(elevenlabs_config("http://api.elevenlabs.example"))
        try:
            assert await provider.list_voices()
            assert await _spoken(provider)
        finally:
            await provider.aclose()

        assert 1 == len(fake.speeches)


@asynccontextmanager
async def _patient_server(body: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """Answers with `body`, each time whole and at once, as often as a connection asks; the list counts connections."""
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(0)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                connections[-1] += 1
                writer.write(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}", connections


async def test_only_the_upstream_is_timed_and_only_while_it_is_waited_for() -> None:
    """Neither a reader that is slow with what has come, nor a connection that rests between two calls."""
    body, read_seconds = bytes(400_000), 1.0
    async with asyncio.timeout(60), _patient_server(body) as (url, connections):
        config = elevenlabs_config(url, read_seconds=read_seconds)
        client = SpeechClient(config, tls=ssl.create_default_context(), proxy=None)
        call = speech_call(REQUEST, config, voice_id=RACHEL, languages=("en",))
        try:
            for slow in (False, True, False):
                size = 0
                async with client.request(call, "key") as answer:
                    async for piece in answer.body:
                        if slow and not size:
                            await asyncio.sleep(read_seconds * 1.5)
                        size += len(piece)
                assert len(body) == size
                await asyncio.sleep(read_seconds * 1.5)
        finally:
            await client.aclose()

    assert [3] == connections
