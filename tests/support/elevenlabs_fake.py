"""A small ElevenLabs: what aimock does not have of it (streams, timestamps, voices, models, subscription), and faults.

`elevenlabs_on_aimock` has conversions answered by aimock.

    async with elevenlabs_fake() as upstream:
        upstream.fail("stream/with-timestamps", Fault(status=429, code="system_busy"))
        ...  # a provider with base_url=upstream.url
        assert 1 == len(upstream.speeches)

It speaks silence: 15 characters a second at speed 1, other frames for other texts, voices and models.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

import aiohttp
from aiohttp import web
from pydantic import SecretStr

from servicekit.secrets import SecretSource
from support.aimock import aimock
from voice_service.providers.elevenlabs.api import ElevenLabsConfig, Endpoint
from voice_service.providers.elevenlabs.provider import ElevenLabsProvider
from voice_service.providers.mock.provider import frames_for, silent_mp3

KEY: Final = "sk_of_the_fake"
RACHEL: Final = "21m00Tcm4TlvDq8ikWAM"
UNLISTED: Final = "UnlistedVoice0000001"
"""A voice that can be asked for and is in no list."""
_CHARACTERS_PER_SECOND: Final = 15
_SHORTEST_SECONDS: Final = 0.2
_CHARACTERS_PER_LINE: Final = 20
_PIECE_BYTES: Final = 8_192


class Break(Enum):
    """Ways in which a stream goes wrong under status 200."""

    CUT = "cut"
    """The connection breaks in the middle."""
    END = "end"
    """It ends in the middle as if all were well."""
    BAD_LINE = "bad line"
    """A line in the middle is no JSON."""
    BAD_BASE64 = "bad base64"
    NULL_AUDIO = "null audio"
    """A line in the middle has null for audio."""
    ERROR_LINE = "error line"
    """The second half is an error object, with the fault's code."""
    STALL = "stall"
    """It stops in the middle without ending."""
    NOTHING = "nothing"
    """It ends before it begins."""
    SILENCE = "silence"
    """No answer ever comes."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is answered in place of what was asked for.

    An HTTP error of `status` with `code`, or with `body` where it is given or `sends` is set; or, where `breaks` is
    set, status 200 and a broken stream, or another `sound` in place of its own. It comes after `delay` seconds. `times`
    is how many calls it strikes.
    """

    status: int = 200
    code: str = ""
    body: Any = None
    sends: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks: Break | None = None
    sound: bytes | None = None
    delay: float = 0.0
    times: int = 1


@dataclass(frozen=True)
class Call:
    """A call that came in; `body` is None for a GET."""

    method: str
    path: str
    query: Mapping[str, str]
    key: str
    body: Mapping[str, Any] | None


_CALL: Final = web.RequestKey("call", Call)
_ID: Final = web.RequestKey("id", str)


def listed_voice(
    voice_id: str,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    verified: Sequence[tuple[str, str]] = (),
    model_id: str = "eleven_multilingual_v2",
) -> dict[str, Any]:
    """A voice as the list has it; `verified` are pairs of language and locale."""
    return {
        "voice_id": voice_id,
        "name": name,
        "category": "premade",
        "labels": dict(labels or {}),
        "verified_languages": [
            {"language": language, "locale": locale or None, "model_id": model_id} for language, locale in verified
        ],
    }


def listed_model(model_id: str, characters: int | None, *languages: str, speaks: bool = True) -> dict[str, Any]:
    """A model as the list has it."""
    return {
        "model_id": model_id,
        "name": model_id,
        "can_do_text_to_speech": speaks,
        "maximum_text_length_per_request": characters,
        "languages": [{"language_id": each, "name": each} for each in languages],
    }


class ElevenLabsFake:
    """What it has, what it was asked, and what it does wrong."""

    def __init__(self) -> None:
        self.url = ""
        self.keys = {KEY}
        self.voices: list[dict[str, Any]] = [
            listed_voice("GermanVoice000000001", "Anna", verified=[("de", "de-DE")]),
            listed_voice(
                RACHEL, "Rachel", labels={"gender": "female", "accent": "american"}, verified=[("en", "en-US")]
            ),
            listed_voice("LabelledVoice0000001", "Ivan", labels={"language": "ru", "gender": "male"}),
            listed_voice("NamedVoice0000000001", "Sofia (Italian)"),
        ]
        self.models: list[dict[str, Any]] = [
            listed_model("eleven_multilingual_v2", 10_000, "en", "de", "ru", "it", "pt"),
            listed_model("eleven_v3", 5_000, "en", "de", "ru", "fa"),
            listed_model("eleven_flash_v2_5", 40_000, "en", "de", "ru"),
            listed_model("scribe_v1", None, "en", speaks=False),
        ]
        self.characters_used, self.character_limit = 1_200, 10_000
        self.leading_space = True
        """Whether each line's characters begin with a space of its own, as they often do."""
        self.untimed_tail = False
        """Whether the last line has audio without times."""
        self.pace = 1.0
        """Times are told so many times too long."""
        self.conversions = ""
        """Base URL of whoever answers conversions; "": the fake."""
        self.journal: list[Call] = []
        self.hold: asyncio.Event | None = None
        """No call is answered until it is set."""
        self.called = asyncio.Event()
        """Set when a call has come in."""
        self.stalled = asyncio.Event()
        """Set when a stream stands still."""
        self._faults: list[list[Any]] = []
        self.lists: Fault | None = None
        """Every call for a list fails with it."""
        self.only_listed = False
        """Whether voices that are not listed are unknown."""
        self.always: Fault | None = None
        """Every call for speech fails with it."""
        self.answers: Callable[[Call], Fault | None] | None = None
        """Answers every call for speech; None where it is answered well."""
        self._regular: Fault | None = None
        self._regular_calls = 0

    @property
    def speeches(self) -> list[Call]:
        """The calls for speech."""
        return [call for call in self.journal if call.path.startswith("/v1/text-to-speech/")]

    def calls(self, path: str) -> list[Call]:
        """The calls of one path."""
        return [call for call in self.journal if call.path == path]

    def fail(self, path: str, fault: Fault) -> None:
        """Let the next calls whose path ends with `path` fail."""
        self._faults.append([path, fault, fault.times])

    def fail_every_other(self, fault: Fault) -> None:
        """Let every first, third, fifth call for speech from now on fail."""
        self._regular = fault
        self._regular_calls = 0

    def unused(self) -> list[str]:
        """Paths of faults that struck fewer calls than they should."""
        return [path for path, _, left in self._faults if left]

    def app(self) -> web.Application:
        """The server."""
        app = web.Application()
        app.router.add_get("/v1/voices", self._voices)
        app.router.add_get("/v1/voices/{voice}", self._voice)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/user/subscription", self._subscription)
        app.router.add_post("/v1/text-to-speech/{voice}", self._convert)
        app.router.add_post("/v1/text-to-speech/{voice}/stream", self._speak)
        app.router.add_post("/v1/text-to-speech/{voice}/stream/with-timestamps", self._speak)
        return app

    def sound(self, body: Mapping[str, Any], voice_id: str) -> bytes:
        """What is spoken for a request."""
        speed = body["voice_settings"].get("speed", 1.0)
        seconds = len(body["text"]) / _CHARACTERS_PER_SECOND / speed
        seed = hashlib.sha256(json.dumps([body, voice_id], sort_keys=True).encode()).digest()
        return silent_mp3(seed, frames_for(max(_SHORTEST_SECONDS, seconds)))

    async def _voices(self, request: web.Request) -> web.StreamResponse:
        fault = await self._begin(request)
        return _error(fault) if fault else web.json_response({"voices": self.voices})

    async def _voice(self, request: web.Request) -> web.StreamResponse:
        fault = await self._begin(request)
        voice_id = request.match_info["voice"]
        found = [voice for voice in self.voices if voice["voice_id"] == voice_id]
        if fault is None and not found and voice_id != UNLISTED:
            fault = Fault(status=404, code="voice_not_found")
        return _error(fault) if fault else web.json_response(found[0] if found else listed_voice(UNLISTED, "Unlisted"))

    async def _models(self, request: web.Request) -> web.StreamResponse:
        fault = await self._begin(request)
        return _error(fault) if fault else web.json_response(self.models)

    async def _subscription(self, request: web.Request) -> web.StreamResponse:
        fault = await self._begin(request)
        answer = {"tier": "creator", "character_count": self.characters_used, "character_limit": self.character_limit}
        return _error(fault) if fault else web.json_response(answer)

    def _not_there(self, request: web.Request) -> Fault | None:
        """What a key that may not list, or an account without the voice, gets."""
        if self.lists is not None and request.method == "GET":
            return self.lists
        voice = request.match_info.get("voice")
        if self.only_listed and voice is not None and all(each["voice_id"] != voice for each in self.voices):
            return Fault(status=404, code="voice_not_found")
        return None

    async def _begin(self, request: web.Request) -> Fault | None:
        body = await request.json() if request.method == "POST" else None
        key = request.headers.get("xi-api-key", "")
        call = Call(request.method, request.path, dict(request.query), key, body)
        self.journal.append(call)
        request[_CALL], request[_ID] = call, f"req-{len(self.speeches)}"
        self.called.set()
        if self.hold is not None:
            await self.hold.wait()
        for entry in self._faults:
            path, fault, left = entry
            if left and request.path.endswith(path):
                entry[2] -= 1
                assert isinstance(fault, Fault)
                return fault
        if self.answers is not None and request.method == "POST" and key in self.keys:
            fault = self.answers(call)
            await asyncio.sleep(0.0 if fault is None else fault.delay)
            return fault
        if (absent := self._not_there(request)) is not None:
            return absent
        if self.always is not None and request.method == "POST":
            return self.always
        if self._regular is not None and request.method == "POST":
            self._regular_calls += 1
            if self._regular_calls % 2:
                return self._regular
        return None if key in self.keys else Fault(status=401, code="invalid_api_key")

    async def _convert(self, request: web.Request) -> web.StreamResponse:
        if not self.conversions:
            return await self._speak(request)
        body = await request.read()
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.conversions}{request.path_qs}", data=body, headers=request.headers) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        fault = await self._begin(request)
        if fault is not None and fault.breaks is None and fault.sound is None:
            return _error(fault)
        if fault is not None and fault.breaks is Break.SILENCE:
            await asyncio.Event().wait()
        body = request[_CALL].body
        assert body is not None
        given = None if fault is None else fault.sound
        sound = self.sound(body, request.match_info["voice"]) if given is None else given
        timed = request.path.endswith("with-timestamps")
        pieces = self._lines(body["text"], sound) if timed else _pieces(sound)
        response = web.StreamResponse(
            headers={
                "Content-Type": "application/json" if timed else "audio/mpeg",
                "request-id": request[_ID],
                "character-cost": str(len(body["text"])),
            }
        )
        await response.prepare(request)
        breaks = None if fault is None else fault.breaks
        for index, piece in enumerate(pieces):
            if breaks is not None and index >= len(pieces) // 2 and breaks is not Break.NOTHING:
                if await self._break(request, response, fault, piece):
                    return response
                breaks = None
            elif breaks is not Break.NOTHING:
                await response.write(piece)
        await response.write_eof()
        return response

    async def _break(
        self, request: web.Request, response: web.StreamResponse, fault: Fault | None, piece: bytes
    ) -> bool:
        """Do the fault where `piece` was to be written; True where nothing follows it."""
        assert fault is not None
        match fault.breaks:
            case Break.CUT:
                assert request.transport is not None
                await response.write(piece[: len(piece) // 2])
                request.transport.close()
                return True
            case Break.STALL:
                self.stalled.set()
                await asyncio.Event().wait()
            case Break.BAD_LINE:
                await response.write(piece[: len(piece) // 2] + b"\n")
            case Break.BAD_BASE64:
                await response.write(json.dumps({**json.loads(piece), "audio_base64": "*"}).encode() + b"\n")
            case Break.NULL_AUDIO:
                await response.write(json.dumps({**json.loads(piece), "audio_base64": None}).encode() + b"\n")
            case Break.ERROR_LINE:
                await response.write(json.dumps(fault.body or _detail(fault.code)).encode() + b"\n")
                await response.write_eof()
                return True
            case _:
                await response.write_eof()
                return True
        return False

    def _lines(self, text: str, sound: bytes) -> list[bytes]:
        """The text cut into lines, each with its part of the sound and the times of its characters."""
        seconds = len(sound) / 16_000
        step = self.pace * seconds / max(1, len(text))
        starts = range(0, len(text), _CHARACTERS_PER_LINE)
        lines = []
        for number, start in enumerate(starts):
            end = min(len(text), start + _CHARACTERS_PER_LINE)
            characters, times = list(text[start:end]), [place * step for place in range(start, end)]
            if self.leading_space:
                characters, times = [" ", *characters], [start * step, *times]
            first, last = len(sound) * start // len(text), len(sound) * end // len(text)
            untimed = self.untimed_tail and number == len(starts) - 1
            alignment = {
                "characters": characters,
                "character_start_times_seconds": times,
                "character_end_times_seconds": [time + step for time in times],
            }
            line = {
                "audio_base64": base64.b64encode(sound[first:last]).decode(),
                "alignment": None if untimed else alignment,
                "normalized_alignment": None if untimed else alignment,
            }
            lines.append(json.dumps(line).encode() + b"\n")
        return lines


@asynccontextmanager
async def elevenlabs_fake() -> AsyncIterator[ElevenLabsFake]:
    """Run one on a free loopback port; leaving it fails the test if a fault struck nobody."""
    fake = ElevenLabsFake()
    runner = web.AppRunner(fake.app(), access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}"
    try:
        yield fake
    finally:
        await runner.cleanup()
    assert [] == fake.unused()


def elevenlabs_config(url: str, key: str | SecretSource = KEY, **more: Any) -> ElevenLabsConfig:
    """How to call what runs at `url`."""
    secret = SecretSource(SecretStr(key), name="ELEVENLABS_API_KEY") if isinstance(key, str) else key
    return ElevenLabsConfig(**{"key": secret, "base_url": url, **more})


@asynccontextmanager
async def elevenlabs_provider() -> AsyncIterator[ElevenLabsProvider]:
    """A provider with a fake of its own."""
    async with elevenlabs_fake() as fake:
        provider = ElevenLabsProvider(elevenlabs_config(fake.url))
        try:
            yield provider
        finally:
            await provider.aclose()


@asynccontextmanager
async def elevenlabs_on_aimock() -> AsyncIterator[ElevenLabsProvider]:
    """A provider whose speech is aimock's, five seconds of silence for everything; lists are a fake's."""
    async with elevenlabs_fake() as fake, aimock() as upstream:
        sound = silent_mp3(b"aimock", frames_for(5.0))
        response = {"audio": base64.b64encode(sound).decode()}
        await upstream.add({"match": {"endpoint": "elevenlabs-tts"}, "response": response})
        fake.conversions = upstream.url
        provider = ElevenLabsProvider(elevenlabs_config(fake.url, endpoint=Endpoint.CONVERT))
        try:
            yield provider
        finally:
            await provider.aclose()


def _pieces(sound: bytes) -> list[bytes]:
    return [sound[start : start + _PIECE_BYTES] for start in range(0, len(sound), _PIECE_BYTES)]


def _error(fault: Fault) -> web.Response:
    if isinstance(fault.body, str):
        return web.Response(status=fault.status, text=fault.body, content_type="text/html", headers=fault.headers)
    body = _detail(fault.code) if fault.body is None and not fault.sends else fault.body
    return web.json_response(body, status=fault.status, headers=fault.headers)


def _detail(code: str) -> dict[str, Any]:
    message = "Once there was a fox named Mia"
    return {"detail": {"code": code, "status": code, "message": message, "request_id": "req-of-the-error"}}
