"""Measures what one caller that does everything wrong costs the others: `python -m benchmarks.bounds [TEXT]`.

The gateway knows two callers by their keys. One opens what it can and reads nothing; the other one reads a story and
the health meanwhile, twenty times a second. Only rows that contain TEXT are measured.
"""

import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import grpc
import psutil
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.storage import narrate
from gateway.door.keys import KeyFile
from servicekit.channel import PeerChannel
from servicekit.context import Caller, RequestContext, bound
from servicekit.ids import new_id
from standins.processes import Cluster
from standins.watcher import gateway_stub, spec
from tale.gateway.v1 import gateway_pb2
from tale.voice.v1 import voice_pb2, voice_pb2_grpc

_SERVICES: Final = ("storage", "voice", "gateway")
_MIB: Final = 1 << 20
_SETTLING_SECONDS: Final = 5.0
_TRANSCRIPTION_SECONDS: Final = 2.0
_OWN: Final = [("grpc.use_local_subchannel_pool", 1)]

Metadata = Sequence[tuple[str, str]]


@dataclass
class Town:
    """A cluster with two callers, a story of each kind, and what the calls of one act ended with."""

    cluster: Cluster
    attacker: Metadata
    guest: Metadata
    recording: str
    """A finished story of the attacker, with 4.8 MB of audio."""
    running: str
    """A story of the attacker that waits for its writer."""
    quiet: str
    """A story of the guest."""
    codes: Counter[str] = field(default_factory=Counter)

    def memory(self) -> dict[str, int]:
        """Returns the resident MiB of each service."""
        return {name: psutil.Process(self.cluster.pid(name)).memory_info().rss // _MIB for name in _SERVICES}

    def cpu(self) -> float:
        """Returns the seconds of CPU that all services have used."""
        return sum(sum(psutil.Process(self.cluster.pid(name)).cpu_times()[:2]) for name in _SERVICES)

    @asynccontextmanager
    async def connections(self, count: int, name: str = "gateway") -> AsyncIterator[list[grpc.aio.Channel]]:
        """Opens so many connections."""
        async with AsyncExitStack() as stack:
            target = self.cluster.address(name).grpc
            yield [
                await stack.enter_async_context(grpc.aio.insecure_channel(target, options=_OWN)) for _ in range(count)
            ]

    async def ended(self, call: Awaitable[Any]) -> None:
        """Counts how a call ends."""
        try:
            await call
        except grpc.aio.AioRpcError as error:
            self.codes[error.code().name] += 1
        else:
            self.codes["OK"] += 1


@asynccontextmanager
async def _transcriber() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        async for _ in request.content.iter_any():
            pass
        await asyncio.sleep(_TRANSCRIPTION_SECONDS)
        return web.json_response({"text": "A story about a fox.", "language": "en", "duration": 3})

    app = web.Application()
    app.router.add_post("/v1/audio/transcriptions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def town() -> AsyncIterator[Town]:
    """Runs the services, without that of the stories: the run of a story waits for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = KeyFile(folder / "keys.json")
        attacker, guest = ((("authorization", f"Bearer {keys.create(owner)[0]}"),) for owner in ("eve", "ben"))
        async with _transcriber() as url:
            it = Cluster(
                folder,
                {
                    "LOG_LEVEL": "ERROR",
                    "GATEWAY_AUTH": "api_key",
                    "GATEWAY_API_KEYS_FILE": str(folder / "keys.json"),
                    "TRANSCRIBE_BASE_URL": url,
                },
            )
            try:
                await it.start(*_SERVICES)
                with bound(RequestContext(new_id(), Caller("eve"))):
                    recording = await narrate(PeerChannel(it.channel("storage")), 1)
                async with it.channel() as channel:
                    stories = [
                        (await gateway_stub(channel).CreateStory(request, timeout=20, metadata=caller)).story.id
                        for caller in (attacker, guest)
                        for request in [gateway_pb2.CreateStoryRequest(spec=spec(1))]
                    ]
                yield Town(it, attacker, guest, recording, *stories)
            finally:
                await it.close()


async def _measure(it: Town, what: str, target: str, act: Callable[[Town], Awaitable[None]]) -> None:
    """Prints the row of an act: memory before, at most and after, and how the other caller was served."""
    it.codes.clear()
    before, used = it.memory(), it.cpu()
    peak, waits, failed = dict(before), list[float](), 0
    over = asyncio.Event()

    async def guest() -> None:
        nonlocal failed
        async with it.connections(1) as (channel,):
            stub: Any = gateway_stub(channel)
            health: Any = health_pb2_grpc.HealthStub(channel)
            while not over.is_set():
                began = time.perf_counter()
                try:
                    request = gateway_pb2.GetStoryRequest(story_id=it.quiet)
                    await stub.GetStory(request, timeout=30, metadata=it.guest)
                    await health.Check(health_pb2.HealthCheckRequest(), timeout=30)
                except grpc.aio.AioRpcError:
                    failed += 1
                waits.append(1000 * (time.perf_counter() - began))
                for name, size in it.memory().items():
                    peak[name] = max(peak[name], size)
                await asyncio.sleep(0.05)

    served = asyncio.create_task(guest())
    began = time.perf_counter()
    await act(it)
    seconds, used = time.perf_counter() - began, it.cpu() - used
    over.set()
    await served
    await asyncio.sleep(_SETTLING_SECONDS)
    after = it.memory()
    waits.sort()
    sizes = ", ".join(f"{name} {before[name]}, {peak[name]}, {after[name]}" for name in _SERVICES)
    codes = ", ".join(f"{count} {code}" for code, count in it.codes.most_common())
    served_how = (
        f"the other caller: {len(waits)} times, {failed} failed, median {waits[len(waits) // 2]:.0f} ms, p95"
        f" {waits[int(0.95 * len(waits))]:.0f} ms"
    )
    print(
        f"| {what} | {target} | MB before, peak, after: {sizes}; {used:.1f} s of CPU in {seconds:.0f} s; {codes};"
        f" {served_how} |",
        flush=True,
    )


async def _streams(it: Town, count: int, begin: Callable[[Any], Any], *, connections: int, seconds: float) -> None:
    """Opens streams, reads nothing of them for a while, and closes them."""
    async with it.connections(connections) as channels:
        stubs = [gateway_stub(channel) for channel in channels]
        calls = [begin(stubs[number % connections]) for number in range(count)]
        await asyncio.sleep(seconds)
        for call in calls:
            code = (await call.code()).name if call.done() else "open"
            it.codes[code] += 1
            call.cancel()


async def _watchers(it: Town) -> None:
    request = gateway_pb2.WatchStoryRequest(story_id=it.running)
    await _streams(it, 10_000, lambda stub: stub.WatchStory(request, metadata=it.attacker), connections=20, seconds=20)


async def _large_metadata(it: Town) -> None:
    request = gateway_pb2.WatchStoryRequest(story_id=it.running)
    metadata = (*it.attacker, ("x-note", "x" * 7_000))
    await _streams(it, 2_000, lambda stub: stub.WatchStory(request, metadata=metadata), connections=20, seconds=10)


async def _readers(it: Town) -> None:
    request = gateway_pb2.ReadStoryAudioRequest(story_id=it.recording)
    await _streams(
        it, 2_000, lambda stub: stub.ReadStoryAudio(request, metadata=it.attacker), connections=20, seconds=20
    )


async def _uploads(it: Town) -> None:
    chunk = bytes(_MIB)

    async def pieces() -> AsyncIterator[voice_pb2.TranscribeRequest]:
        yield voice_pb2.TranscribeRequest(config=voice_pb2.TranscribeConfig(content_type="audio/wav"))
        for _ in range(24):
            yield voice_pb2.TranscribeRequest(chunk=chunk)

    async with it.connections(120) as channels:
        stubs: list[Any] = [voice_pb2_grpc.VoiceServiceStub(channel) for channel in channels]
        calls = (stub.Transcribe(pieces(), timeout=100, metadata=it.attacker) for stub in stubs)
        await asyncio.gather(*(it.ended(call) for call in calls))


async def _speak(it: Town, piece: str, count: int) -> None:
    """Sends text to the voice service until it is refused."""

    async def pieces() -> AsyncIterator[voice_pb2.SynthesizeSpeechRequest]:
        yield voice_pb2.SynthesizeSpeechRequest(config=voice_pb2.SpeechConfig(language_code="en"))
        for _ in range(count):
            yield voice_pb2.SynthesizeSpeechRequest(text=voice_pb2.TextPiece(text=piece))

    async def hear(channel: grpc.aio.Channel) -> None:
        stub: Any = voice_pb2_grpc.VoiceServiceStub(channel)
        async for _ in stub.SynthesizeSpeech(pieces(), timeout=60):
            pass

    async with it.connections(4, "voice") as channels:
        await asyncio.gather(*(it.ended(hear(channel)) for channel in channels))


async def _sockets(it: Town, count: int, sent: bytes, address: str, *, seconds: float) -> None:
    """Opens connections, each with the same few bytes, and counts those that are open after a while."""
    host, _, port = address.rpartition(":")
    opened = await asyncio.gather(*(asyncio.open_connection(host, int(port)) for _ in range(count)))
    for _, writer in opened:
        writer.write(sent)
    ended = [asyncio.create_task(_end(reader)) for reader, _ in opened]
    await asyncio.wait(ended, timeout=seconds)
    it.codes["closed by the server"] = sum(task.done() for task in ended)
    it.codes["open"] = sum(not task.done() for task in ended)
    for task, (_, writer) in zip(ended, opened, strict=True):
        task.cancel()
        writer.close()


async def _end(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        await reader.read()


async def _half_open(it: Town) -> None:
    address = it.cluster.address("gateway").ops
    sockets = asyncio.create_task(_sockets(it, 2_000, b"GET /heal", address, seconds=15))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        for _ in range(20):
            async with session.get(f"http://{address}/healthz", timeout=aiohttp.ClientTimeout(total=10)) as page:
                it.codes[f"probe {page.status}"] += 1
            await asyncio.sleep(0.5)
    await sockets


ROWS: Final[Sequence[tuple[str, str, Callable[[Town], Awaitable[None]]]]] = (
    ("10,000 open WatchStory streams of one caller", "the other one served, memory back", _watchers),
    ("2,000 streams with 7 KB of metadata", "the other one served, memory back", _large_metadata),
    ("2,000 readers of 4.8 MB of audio that never read", "the other one served, memory back", _readers),
    ("120 uploads of 24 MB at once", "no process above 400 MB", _uploads),
    (
        "four streams of text for ever, to the voice service",
        "refused",
        lambda it: _speak(it, "The fox walked on. ", 1_000_000),
    ),
    ("four streams of empty text, to the voice service", "refused", lambda it: _speak(it, "", 1_000_000)),
    (
        "2,000 connections that send nothing",
        "closed",
        lambda it: _sockets(it, 2_000, b"", it.cluster.address("gateway").grpc, seconds=20),
    ),
    ("2,000 half-open HTTP requests to the operators' port", "closed, probes answered", _half_open),
)


async def main(text: str = "") -> None:
    """Measures and prints the table."""
    print("| what | target | measured |\n|---|---|---|", flush=True)
    async with town() as it:
        for what, target, act in ROWS:
            if text in what:
                await _measure(it, what, target, act)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
