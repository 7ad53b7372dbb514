"""A server with OpenAI's `/audio/speech`, `/audio/voices` and `/audio/transcriptions` that fails as a test has written.

    async with speech_fake() as server:
        server.script(Reply(status=429, headers={"Retry-After": "7"}))
        ...  # a client with base_url=server.url
        assert 1 == len(server.speeches)

It speaks tones: 15 characters a second, other tones for other texts and voices.
"""

import asyncio
import base64
import contextlib
import hashlib
import io
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import soundfile  # type: ignore[import-untyped]
from aiohttp import web
from pydantic import SecretStr

from servicekit.secrets import SecretSource
from support.aimock import AIMock, aimock
from voice_service.providers.openai_api import OpenAIClient
from voice_service.providers.speech.config import SpeechConfig
from voice_service.providers.speech.provider import SpeechProvider
from voice_service.transcription.openai_transcriber import OpenAITranscriber, TranscriptionConfig

CHARACTERS_PER_SECOND: Final = 15
_CHUNK: Final = 4_096
_MEDIA_TYPES: Final = {
    "pcm": "audio/pcm",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "opus": "audio/ogg",
}
_SUBTYPES: Final = {"wav": ("WAV", "PCM_16"), "mp3": ("MP3", None), "flac": ("FLAC", None), "opus": ("OGG", "OPUS")}


@dataclass(frozen=True, kw_only=True)
class Reply:
    """How one call is answered; what is None is as it always is.

    `cut_after` bytes the connection breaks, with the length announced if `sized`, else in the middle of chunks.
    `delay` seconds pass before it begins. `hold` keeps the answer from beginning, `pause` from going on after its first
    bytes, until they are set.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str | None = None
    cut_after: int | None = None
    sized: bool = True
    delay: float = 0.0
    hold: asyncio.Event | None = None
    pause: asyncio.Event | None = None


@dataclass(frozen=True)
class Speech:
    """A call of /audio/speech."""

    headers: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Upload:
    """A call of /audio/transcriptions: its fields, and the file with its name and media type."""

    headers: Mapping[str, str]
    fields: Mapping[str, str]
    file: bytes
    file_name: str
    content_type: str


class SpeechFake:
    """What the server does, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        """Base URL, with /v1."""
        self.stop: Callable[[], Awaitable[None]]
        """Closes its connections; from then on they are refused."""
        self.reset()

    def reset(self) -> None:
        """Be as at the beginning."""
        self.sample_rate = 24_000
        self.channels = 1
        self.sends: str | None = None
        """Format that it sends whatever it is asked for."""
        self.media_type: str | None = None
        """Content-Type that it says in place of the right one."""
        self.voices: Any = None
        """AudioType of /audio/voices; None: there is no such thing."""
        self.models: Any = {"data": []}
        """AudioType of /models."""
        self.transcript: Any = {"text": "A story about a dragon who cannot sleep."}
        self.speeches: list[Speech] = []
        self.uploads: list[Upload] = []
        self.asked: list[str] = []
        """Paths of the calls that are no speech and no transcription."""
        self.answers: Callable[[Speech], Reply] | None = None
        """Answers every call of /audio/speech, in place of the script."""
        self.work = 0.0
        """Seconds that it works, before its answer begins, for each second of sound."""
        self.threads: int | None = None
        """Calls that it works on at once; further ones wait, and it works on those that were given up. None: any."""
        self.loading = 0.0
        """Seconds that it works before the first text."""
        self.most_at_once = 0
        """Calls that were in progress at one time."""
        self._at_once = 0
        self._free: asyncio.Semaphore | None = None
        self._replies: deque[Reply] = deque()

    @property
    def texts(self) -> list[str]:
        """What it was asked to speak, in order."""
        return [speech.body["input"] for speech in self.speeches]

    async def start(self) -> None:
        """Listens, at the address where it was before."""
        runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        place = urlsplit(self.url)
        await web.TCPSite(runner, "127.0.0.1", place.port or 0).start()
        host, port = runner.addresses[0][:2]
        self.url, self.stop = f"http://{host}:{port}/v1", runner.cleanup

    def script(self, *replies: Reply) -> None:
        """The next calls, whatever they ask for, are answered so."""
        self._replies.extend(replies)

    def forget(self) -> None:
        """Drop the replies that nobody asked for."""
        self._replies.clear()

    def unused(self) -> int:
        """Replies that nobody asked for."""
        return len(self._replies)

    def app(self) -> web.Application:
        """The server."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/audio/speech", self._speak)
        app.router.add_post("/v1/audio/transcriptions", self._transcribe)
        app.router.add_get("/v1/audio/voices", self._voices)
        app.router.add_get("/v1/models", self._models)
        return app

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.speeches.append(Speech(dict(request.headers), body))
        form = self.sends or body["response_format"]
        reply = self.answers(self.speeches[-1]) if self.answers else None
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self._take_time(body)
            return await self._answer(
                request,
                self.sound(body, form),
                self.media_type or _MEDIA_TYPES[form],
                {"X-Request-Id": "call-1"},
                reply,
            )
        finally:
            self._at_once -= 1

    async def _take_time(self, body: Mapping[str, Any]) -> None:
        if self.threads is not None and self._free is None:
            self._free = asyncio.Semaphore(self.threads)
        async with self._free or contextlib.nullcontext():
            loading, self.loading = self.loading, 0.0
            await asyncio.sleep(loading + self.work * self.seconds(body))

    async def _transcribe(self, request: web.Request) -> web.StreamResponse:
        fields: dict[str, str] = {}
        file, name, media_type = b"", "", ""
        async for part in await request.multipart():
            assert part is not None
            if getattr(part, "name", None) == "file":
                file, name = bytes(await part.read()), part.filename or ""  # type: ignore[union-attr]
                media_type = part.headers.get("Content-Type", "")
            else:
                fields[str(part.name)] = await part.text()  # type: ignore[union-attr]
        self.uploads.append(Upload(dict(request.headers), fields, file, name, media_type))
        return await self._answer(request, web.json_response(self.transcript).body, "application/json", {})

    async def _voices(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.voices is None and not self._replies:
            raise web.HTTPNotFound
        return await self._answer(request, web.json_response(self.voices).body, "application/json", {})

    async def _models(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        return await self._answer(request, web.json_response(self.models).body, "application/json", {})

    @staticmethod
    def seconds(body: Mapping[str, Any]) -> float:
        """How long the speech for the body of a request is."""
        return max(0.4, len(body["input"]) / CHARACTERS_PER_SECOND / float(body.get("speed", 1.0)))

    def sound(self, body: Mapping[str, Any], form: str) -> bytes:
        """What is spoken for the body of a request."""
        seconds = self.seconds(body)
        tone = 200 + hashlib.sha256(f"{body['voice']}\0{body['input']}".encode()).digest()[0]
        times = np.arange(round(seconds * self.sample_rate)) / self.sample_rate
        samples = (np.sin(2 * np.pi * tone * times) * 8_000).astype("<i2")
        samples = np.repeat(samples[:, None], self.channels, axis=1)
        if form == "pcm":
            return samples.tobytes()
        file = io.BytesIO()
        container, subtype = _SUBTYPES[form]
        soundfile.write(file, samples, self.sample_rate, format=container, subtype=subtype)
        return file.getvalue()

    async def _answer(
        self,
        request: web.Request,
        body: Any,
        media_type: str,
        headers: Mapping[str, str],
        reply: Reply | None = None,
    ) -> web.StreamResponse:
        reply = reply or (self._replies.popleft() if self._replies else Reply())
        await asyncio.sleep(reply.delay)
        if reply.hold is not None:
            await reply.hold.wait()
        body = body if reply.body is None else reply.body
        response = web.StreamResponse(status=reply.status, headers={**headers, **reply.headers})
        response.headers["Content-Type"] = reply.content_type or media_type
        if reply.sized:
            response.content_length = len(body)
        await response.prepare(request)
        sent = body if reply.cut_after is None else body[: reply.cut_after]
        # A caller may leave early.
        with contextlib.suppress(ConnectionResetError):
            for start in range(0, len(sent), _CHUNK):
                await response.write(sent[start : start + _CHUNK])
                if reply.pause is not None:
                    await reply.pause.wait()
            if reply.cut_after is None:
                await response.write_eof()
            elif request.transport is not None:
                request.transport.close()
        return response


@asynccontextmanager
async def speech_fake() -> AsyncIterator[SpeechFake]:
    """Run one on a free loopback port; leaving it fails the test if a reply was not used."""
    fake = SpeechFake()
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()
    assert 0 == fake.unused()


def speech_config(base_url: str, key: str | SecretSource = "secret-key", **given: Any) -> SpeechConfig:
    """What a provider has to know of a server."""
    secret = SecretSource(SecretStr(key), name="SPEECH_API_KEY") if isinstance(key, str) else key
    return SpeechConfig(**{"base_url": base_url, "key": secret, "model": "kokoro", "voice": "af_heart", **given})


async def load_sdk() -> None:
    """Loads what a provider loads in a thread when it is first called."""
    client = OpenAIClient("http://127.0.0.1:1/v1", SecretSource(None, name="NONE"), provider="none")
    await client.get()
    await client.aclose()


@asynccontextmanager
async def speech_provider(**given: Any) -> AsyncIterator[tuple[SpeechProvider, SpeechFake]]:
    """A provider on a server of its own; `given` goes into its configuration."""
    async with speech_fake() as server:
        provider = SpeechProvider(speech_config(server.url, **given))
        try:
            yield provider, server
        finally:
            await provider.aclose()


@asynccontextmanager
async def aimock_speech_provider(**given: Any) -> AsyncIterator[tuple[SpeechProvider, AIMock]]:
    """A provider on aimock, which says the same four seconds of a tone to everything."""
    tone = SpeechFake().sound({"input": "a" * 4 * CHARACTERS_PER_SECOND, "voice": "tone"}, "pcm")
    async with aimock() as upstream:
        response = {"audio": base64.b64encode(tone).decode(), "format": "pcm"}
        await upstream.add({"match": {"endpoint": "speech"}, "response": response})
        provider = SpeechProvider(speech_config(upstream.openai_url, **given))
        try:
            yield provider, upstream
        finally:
            await provider.aclose()


def transcriber_of(base_url: str, key: str = "secret-key", **given: Any) -> OpenAITranscriber:
    """A transcriber that asks a server."""
    secret = SecretSource(SecretStr(key) if key else None, name="TRANSCRIBE_API_KEY")
    return OpenAITranscriber(TranscriptionConfig(base_url=base_url, key=secret, **given))
