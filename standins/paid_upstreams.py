"""Runs the paid upstreams as a process (`standins.upstreams`), with the settings of a cluster that calls it."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

ROOT: Final = Path(__file__).parents[1]
MODEL: Final = "bench/writer"
FALLBACK_MODEL: Final = "bench/second"
OPENROUTER_KEY: Final = "sk-or-v1-bench"
ELEVENLABS_KEY: Final = "sk_bench"
_START_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class PaidUpstreams:
    """The process: its address and its id."""

    url: str
    pid: int
    session: aiohttp.ClientSession

    @property
    def openrouter_url(self) -> str:
        """OPENROUTER_BASE_URL."""
        return f"{self.url}/api/v1"

    @property
    def environment(self) -> dict[str, str]:
        """Settings with which a cluster calls it."""
        return {
            "OPENROUTER_BASE_URL": self.openrouter_url,
            "OPENROUTER_API_KEY": OPENROUTER_KEY,
            "STORY_MODEL": MODEL,
            "ELEVENLABS_BASE_URL": self.url,
            "ELEVENLABS_API_KEY": ELEVENLABS_KEY,
            "DEFAULT_VOICE_PROVIDER": "elevenlabs",
        }

    async def script(self, **script: Any) -> None:
        """Sets how it responds: fields of `standins.upstream_script.Script`, the others at their defaults."""
        async with self.session.put(f"{self.url}/script", json=script) as answer:
            answer.raise_for_status()

    async def journal(self) -> dict[str, Any]:
        """Returns the calls it received: see `standins.upstream_script.Journal`."""
        async with self.session.get(f"{self.url}/journal") as answer:
            answer.raise_for_status()
            journal: dict[str, Any] = await answer.json()
            return journal

    async def forget(self) -> None:
        """Empties the journal."""
        async with self.session.delete(f"{self.url}/journal") as answer:
            answer.raise_for_status()


@asynccontextmanager
async def paid_upstreams() -> AsyncIterator[PaidUpstreams]:
    """Runs the process until the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "standins.upstreams",
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        url = (await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)).decode().strip()
        assert url, "the upstreams did not start"
        async with aiohttp.ClientSession() as session:
            yield PaidUpstreams(url, process.pid, session)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
