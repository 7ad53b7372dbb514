"""What can happen between the store and Supabase: a proxy that fails as it is told."""

import asyncio
import io
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import aiohttp
from aiohttp import web

Kind: TypeAlias = Literal["reset", "stall", "answer", "cut", "halve"]

_HEADERS = ("content-type", "content-range", "content-length")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with a request whose path contains `at`, of any method unless one is given.

    "reset" cuts the connection, "stall" never answers, "answer" answers `status` and `body`; all three before the
    request reaches Supabase, or `late`: after it was done there. "cut" ends the connection in the middle of the body
    (of the request, or `late` of the answer), "halve" passes on the first half of it as if it were all.
    """

    kind: Kind
    at: str = ""
    method: str = ""
    late: bool = False
    status: int = 500
    body: Mapping[str, Any] | str = "{}"
    headers: Mapping[str, str] = field(default_factory=dict)


class Proxy:
    """Passes on to Supabase what nothing is to happen to. `asked` are the paths of all requests, in order."""

    def __init__(self, upstream: str, session: aiohttp.ClientSession) -> None:
        self._upstream = upstream
        self._session = session
        self._planned: deque[Fault] = deque()
        self._ended = asyncio.Event()
        self.down = False
        self.rewrite: Callable[[bytes], bytes] | None = None
        self.asked: list[str] = []
        self.first_asked = asyncio.Event()
        self.url = ""

    def plan(self, fault: Fault, *, times: int = 1) -> None:
        """Faults for the next requests that they are about."""
        self._planned.extend([fault] * times)

    @property
    def planned(self) -> int:
        """Faults that have not happened yet."""
        return len(self._planned)

    def end(self) -> None:
        """Lets go of what is stalled."""
        self._ended.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Passes a request on, or does what was planned."""
        self.asked.append(request.path)
        self.first_asked.set()
        if self.down:
            return self._reset(request)
        fault = self._next(request)
        if fault is not None and not fault.late:
            if fault.kind == "cut":
                await request.content.readany()
                return self._reset(request)
            if fault.kind != "halve":
                return await self._happen(request, fault)
        body = await request.read()
        if fault is not None and fault.kind == "halve" and not fault.late:
            body = _half_of_the_file(body)
        status, headers, answer = await self._pass_on(request, body)
        if fault is not None and fault.late:
            if fault.kind in {"cut", "halve"}:
                return await self._part(request, status, headers, answer, cut=fault.kind == "cut")
            return await self._happen(request, fault)
        if self.rewrite is not None:
            answer = self.rewrite(answer)
            headers.pop("content-length", None)
        return web.Response(status=status, headers=headers, body=answer)

    def _next(self, request: web.Request) -> Fault | None:
        for fault in self._planned:
            if fault.at in request.path and fault.method in {"", request.method}:
                self._planned.remove(fault)
                return fault
        return None

    async def _pass_on(self, request: web.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in {"host", "content-length"}
        }
        async with self._session.request(
            request.method, self._upstream + request.path_qs, headers=headers, data=io.BytesIO(body)
        ) as answer:
            kept = {name: answer.headers[name] for name in _HEADERS if name in answer.headers}
            return answer.status, kept, await answer.read()

    async def _happen(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.kind == "reset":
            return self._reset(request)
        if fault.kind == "stall":
            await self._ended.wait()
            return self._reset(request)
        if isinstance(fault.body, str):
            return web.Response(status=fault.status, text=fault.body, headers=fault.headers)
        text = json.dumps(fault.body)
        return web.Response(status=fault.status, text=text, content_type="application/json", headers=fault.headers)

    async def _part(
        self, request: web.Request, status: int, headers: dict[str, str], answer: bytes, *, cut: bool
    ) -> web.StreamResponse:
        part = answer[: len(answer) // 2]
        if not cut:
            headers.pop("content-length", None)
            return web.Response(status=status, headers=headers, body=part)
        response = web.StreamResponse(status=status, headers={**headers, "content-length": str(len(answer))})
        await response.prepare(request)
        await response.write(part)
        return self._reset(request)

    def _reset(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=503)


@asynccontextmanager
async def proxy(upstream: str) -> AsyncIterator[Proxy]:
    """A proxy on a loopback port. What was planned for it must have happened by the end."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        it = Proxy(upstream, session)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", it.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        it.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield it
            assert 0 == it.planned, "a fault was planned that nothing came across"
        finally:
            it.end()
            await runner.cleanup()


def _half_of_the_file(body: bytes) -> bytes:
    """A multipart body whose file is cut in half, and which is well-formed all the same."""
    boundary = body[: body.index(b"\r\n")]
    start = body.index(b"\r\n\r\n", body.index(b"filename=")) + 4
    end = body.index(b"\r\n" + boundary, start)
    return body[: start + (end - start) // 2] + body[end:]
