"""OpenRouter and ElevenLabs as one light process: `python -m standins.upstreams ['{"words": 750, …}']`.

It prints its address and serves until it is terminated. `PUT /script` changes how it responds (`Script`, JSON), `GET
/journal` returns the calls, their size and cost, `DELETE /journal` empties it. Stories and speech are made up
(`standins.made_up`): a story by the seed of its request, speech by the length of its text.
"""

import asyncio
import json
import random
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import cycle
from typing import Any, Final, Literal, TypeVar

from aiohttp import web

from standins.made_up import blocks, made_up_frames, made_up_silence, made_up_speech, made_up_story
from standins.pace import Pace
from standins.scene_writer import Habits, written
from standins.timed_lines import timed_lines
from standins.upstream_lists import FIXED
from standins.upstream_script import MOST_CALLS, Journal, Script, Spoken, Told, TurnedAway

T = TypeVar("T")

PROMPT_TOKENS: Final = 300
_PIECE_BYTES: Final = 65_536
_TOO_MANY: Final = ("too_many_concurrent_requests", "rate_limit_exceeded", "system_busy")
_SPEECH_CODES: Final = {
    "400": "invalid_request",
    "401": "invalid_api_key",
    "402": "payment_required",
    "404": "voice_not_found",
    "422": "invalid_parameters",
    "500": "internal_server_error",
}
"""ElevenLabs' names of errors."""


class Upstreams:
    """Both servers."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._random = random.Random(script.seed)
        self._faults = cycle(script.faults)
        self._journal = Journal()
        self._generations: dict[str, Told] = {}
        self._answers = 0
        self._changed = asyncio.Event()
        """Set when the script changes."""

    def app(self) -> web.Application:
        """Returns the application."""
        app = web.Application(client_max_size=4 << 20, middlewares=[self._down])
        app.add_routes(
            [
                web.post("/api/v1/chat/completions", self._counted(self._write)),
                web.get("/api/v1/generation", self._generation),
                web.post("/v1/text-to-speech/{voice}/stream", self._counted(self._speak)),
                web.post("/v1/text-to-speech/{voice}/stream/with-timestamps", self._counted(self._speak)),
                *(web.get(path, self._fixed) for path in FIXED),
                web.put("/script", self._change),
                web.get("/journal", self._tell_journal),
                web.delete("/journal", self._forget),
            ]
        )
        return app

    @web.middleware
    async def _down(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self._script.down and request.path not in {"/script", "/journal"}:
            self._note(self._journal.turned_away, TurnedAway(request.path, time.time()))
            return web.Response(status=503)
        answer: web.StreamResponse = await handler(request)
        return answer

    def _counted(self, handler: Any) -> Any:
        async def counting(request: web.Request) -> web.StreamResponse:
            journal = self._journal
            journal.in_flight += 1
            journal.most_in_flight = max(journal.most_in_flight, journal.in_flight)
            try:
                answer: web.StreamResponse = await handler(request)
                return answer
            finally:
                journal.in_flight -= 1

        return counting

    def _note(self, calls: list[T], call: T) -> None:
        calls.append(call)
        if len(calls) > MOST_CALLS:
            del calls[0]
            self._journal.forgotten += 1

    def _about(self, seconds: float) -> float:
        return seconds * self._random.uniform(1 - self._script.spread, 1 + self._script.spread)

    def _fault(self, call: Literal["writing", "speaking"]) -> str:
        script = self._script
        if call not in script.fault_on or self._random.random() >= script.fault_rate:
            return ""
        # In turn: every kind occurs, however few calls fail.
        return next(self._faults)

    async def _write(self, request: web.Request) -> web.StreamResponse:
        body, script = await request.json(), self._script
        self._answers += 1
        number = self._answers
        call = Told(f"gen-{number}", int(body.get("seed") or 0), str(body["model"]), self._fault("writing"))
        self._note(self._journal.told, call)
        self._generations[call.id] = call
        self._generations.pop(f"gen-{number - MOST_CALLS}", None)
        if call.fault.isdigit():
            return self._refused(call.fault, {"error": {"code": int(call.fault), "message": "refused"}})
        story = made_up_story(call.seed, script.words)
        prompt = "\n".join(message["content"] for message in body["messages"])
        if script.most_words:
            text = written(prompt, Habits(most_words=script.most_words))
        else:
            text = story.answer(story.told_in(prompt))
        size = -(-len(text) // script.events)
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        breaks_at = self._random.randrange(1, len(pieces)) if call.fault else len(pieces)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Generation-Id": call.id})
        with _noting_departure(call):
            call.held = bool(script.hold) and re.search(script.hold, prompt) is not None
            if call.held:
                await self._changed.wait()
            await asyncio.sleep(self._about(script.first_token))
            await response.prepare(request)
            pace = Pace(self._about(script.writing) / max(1, len(pieces) - 1))
            for piece in pieces[:breaks_at]:
                await pace.next()
                await response.write(_event(call, [{"index": 0, "delta": {"role": "assistant", "content": piece}}]))
                call.words += len(piece.split())
            if call.fault:
                return await self._broken(request, response, call.fault, b'data: {"id": "gen')
            await response.write(_event(call, [{"index": 0, "delta": {}, "finish_reason": "stop"}]))
            usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": call.words, "cost": call.cost}
            await response.write(_event(call, [], usage) + b"data: [DONE]\n\n")
            await response.write_eof()
            call.whole = True
        return response

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        body, script = await request.json(), self._script
        text = str(body["text"])
        call = Spoken(f"req-{len(self._journal.spoken) + 1}", text, self._fault("speaking"))
        self._note(self._journal.spoken, call)
        if call.fault.isdigit():
            status = _SPEECH_CODES.get(call.fault) or self._random.choice(_TOO_MANY)
            return self._refused(call.fault, {"detail": {"status": status, "message": "refused"}})
        call.billed = len(text)
        timed = request.path.endswith("with-timestamps")
        speech = made_up_speech(text) if script.distinct else made_up_silence(made_up_frames(text))
        pieces = list(timed_lines(text, distinct=script.distinct) if timed else blocks(speech))
        breaks_at = self._random.randrange(len(pieces)) if call.fault else len(pieces)
        headers = {
            "Content-Type": "application/json" if timed else "audio/mpeg",
            "request-id": call.id,
            "character-cost": str(len(text)),
        }
        response = web.StreamResponse(headers=headers)
        with _noting_departure(call):
            await asyncio.sleep(self._about(script.first_byte))
            await response.prepare(request)
            if script.pace:
                pace = Pace(len(speech) / 16_000 / script.pace / len(pieces))
                for piece in pieces[:breaks_at]:
                    await response.write(piece)
                    await pace.next()
            else:
                whole = b"".join(pieces[:breaks_at])
                for start in range(0, len(whole), _PIECE_BYTES):
                    await response.write(whole[start : start + _PIECE_BYTES])
            if call.fault:
                return await self._broken(request, response, call.fault, pieces[breaks_at][:-9] + b"\n")
            await response.write_eof()
            call.bytes, call.whole = len(speech), True
        return response

    def _refused(self, fault: str, body: Any) -> web.Response:
        headers = {"Retry-After": self._script.retry_after} if fault == "429" else {}
        return web.json_response(body, status=int(fault), headers=headers)

    async def _broken(
        self, request: web.Request, response: web.StreamResponse, fault: str, garbage: bytes
    ) -> web.StreamResponse:
        """Ends a response that has started, in the way of the fault."""
        match fault:
            case "stall":
                await asyncio.Event().wait()
            case "malformed":
                await response.write(garbage)
            case _ if self._random.random() < 0.5 and request.transport is not None:
                request.transport.abort()
                return response
        # A clean end, in the middle.
        await response.write_eof()
        return response

    async def _generation(self, request: web.Request) -> web.Response:
        call = self._generations.get(request.query.get("id", ""))
        if call is None:
            return web.json_response({"error": {"code": 404, "message": "not found"}}, status=404)
        tokens = {f"{kind}tokens_{of}": n for kind in ("", "native_") for of, n in _tokens(call).items()}
        data = {"id": call.id, "model": call.model, "provider_name": "Bench", "total_cost": call.cost, **tokens}
        return web.json_response({"data": data})

    async def _fixed(self, request: web.Request) -> web.Response:
        return web.json_response(FIXED[request.path])

    async def _change(self, request: web.Request) -> web.Response:
        self._script = Script.model_validate_json(await request.read())
        self._changed.set()
        self._changed = asyncio.Event()
        self._random = random.Random(self._script.seed)
        self._faults = cycle(self._script.faults)
        return web.Response(status=204)

    async def _tell_journal(self, _: web.Request) -> web.Response:
        return web.json_response(asdict(self._journal))

    async def _forget(self, _: web.Request) -> web.Response:
        # `/generation` is called after the journal was emptied.
        self._journal = Journal(in_flight=self._journal.in_flight)
        return web.Response(status=204)


@contextmanager
def _noting_departure(call: Told | Spoken) -> Iterator[None]:
    """Notes that the caller closed the connection."""
    try:
        yield
    except ConnectionError:
        call.left = True
    except asyncio.CancelledError:
        call.left = True
        raise


def _tokens(call: Told) -> dict[str, int]:
    return {"prompt": PROMPT_TOKENS, "completion": call.words}


def _event(call: Told, choices: list[Any], usage: object = None) -> bytes:
    event = {
        "id": call.id,
        "provider": "Bench",
        "model": call.model,
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "choices": choices,
        **({} if usage is None else {"usage": usage}),
    }
    return b"data: " + json.dumps(event).encode() + b"\n\n"


async def serve(script: Script) -> None:
    """Serves on a free loopback port, prints the address, and ends with SIGTERM."""
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    runner = web.AppRunner(Upstreams(script).app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await over.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(Script.model_validate_json(sys.argv[1] if len(sys.argv) > 1 else "{}")))
