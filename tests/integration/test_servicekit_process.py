"""A service as a process: its logs, signals and exit codes."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.raw_service import SECRET
from support.rpcs import failure

from servicekit.channel import open_channel
from servicekit.status import from_rpc_error

TESTS = Path(__file__).parents[1]


class Service:
    """A running process and the log lines that it wrote so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    async def line(self, event: str) -> dict[str, Any]:
        """The next line of that event; every line must be JSON."""
        assert self.process.stderr is not None
        while raw := await asyncio.wait_for(self.process.stderr.readline(), 30):
            self.lines.append(json.loads(raw))
            if event == self.lines[-1]["event"]:
                return self.lines[-1]
        raise AssertionError(f"no {event!r} in {self.lines}")

    async def end(self) -> int:
        """Exit code, once all lines are read."""
        assert self.process.stderr is not None
        rest = await asyncio.wait_for(self.process.stderr.read(), 30)
        self.lines.extend(json.loads(raw) for raw in rest.splitlines())
        return await asyncio.wait_for(self.process.wait(), 30)


@asynccontextmanager
async def started(behaviour: str, **environment: str) -> AsyncIterator[Service]:
    """The raw service in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "support.raw_service", behaviour),
        cwd=TESTS,
        env={**os.environ, "LOG_FORMAT": "json", **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Service(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_logs_are_json_and_carry_the_request_id_and_no_text_of_errors() -> None:
    """Ours, the libraries' and stray errors all are JSON lines by type and frames; a call's lines carry its id."""
    async with started("fail", LOG_LEVELS="test.loud=DEBUG") as service:
        address = (await service.line("serving"))["address"]
        async with open_channel(address) as channel:
            await failure(channel, "UnaryUnary", metadata=[("x-request-id", "r-9")])
        service.process.send_signal(signal.SIGTERM)
        code = await service.end()
    of_call = {line["event"]: line for line in service.lines if line.get("request_id") == "r-9"}

    assert 0 == code
    assert {"ours", "theirs: an argument", "asked for", "unexpected error", "call"} <= set(of_call)
    assert ("builtins.KeyError", "s-1") == (of_call["ours"]["errors"][0]["type"], of_call["ours"]["story_id"])
    assert ("builtins.KeyError", "aiohttp.test") == (
        of_call["theirs: an argument"]["errors"][0]["type"],
        of_call["theirs: an argument"]["logger"],
    )
    assert ("builtins.RuntimeError", "error") == (
        of_call["unexpected error"]["errors"][0]["type"],
        of_call["unexpected error"]["level"],
    )
    assert ("INTERNAL", "/test.Raw/UnaryUnary") == (of_call["call"]["code"], of_call["call"]["method"])
    assert all({"service", "timestamp", "level", "logger"} <= set(line) for line in service.lines)
    assert ["builtins.ValueError"] == [
        line["errors"][0]["type"] for line in service.lines if line["event"] == "error outside of awaited tasks"
    ]
    assert not any(text in json.dumps(service.lines) for text in (SECRET, "not asked for"))


async def test_a_signal_drains_and_a_second_one_does_not_wait() -> None:
    """SIGTERM lets a call in flight go on; another one cuts it with RECONNECT and ends with 130."""
    async with started("wait", DRAIN_SECONDS="3600") as service:
        address = (await service.line("serving"))["address"]
        async with open_channel(address) as channel:
            open_call = asyncio.create_task(failure(channel, "UnaryStream", timeout=60))
            await service.line("waiting")
            service.process.send_signal(signal.SIGTERM)
            in_flight = (await service.line("draining"))["in_flight"]
            done_early = open_call.done()
            service.process.send_signal(signal.SIGINT)
            error = from_rpc_error(await open_call)
            code = await service.end()

    assert (1, False) == (in_flight, done_early)
    assert (grpc.StatusCode.UNAVAILABLE, "RECONNECT") == (error.code, error.reason)
    assert 130 == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_either_signal_ends_an_idle_service_well(number: signal.Signals) -> None:
    """Without calls in flight a service goes down at once, with exit code 0."""
    async with started("wait", DRAIN_SECONDS="3600") as service:
        await service.line("serving")
        service.process.send_signal(number)

        assert 0 == await service.end()
    assert "stopped" == service.lines[-1]["event"]


async def test_variable_that_looks_like_a_setting_and_is_none_is_a_warning() -> None:
    """Without its value; the service starts."""
    async with started("wait", RAW_LIMIT="sk-secret") as service:
        warning = await service.line("set-up warning")
        await service.line("serving")
    assert "RAW_LIMIT is not a setting" == warning["warning"]
    assert "warning" == warning["level"]
    assert "sk-secret" not in json.dumps(warning)


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("DRAIN_SECONDS", "soon", b"raw: DRAIN_SECONDS must be a valid number"),
        ("SERVICE_LISTEN", "192.0.2.1:50051", b"raw: SERVICE_LISTEN: cannot listen on 192.0.2.1:50051"),
    ],
)
async def test_a_wrong_setting_is_one_line_and_exit_code_2(variable: str, value: str, line: bytes) -> None:
    """What is wrong with the configuration is all that a service prints when it cannot start."""
    async with started("wait", LOG_LEVEL="WARNING", SERVICE_ALLOW_ANONYMOUS="1", **{variable: value}) as service:
        assert service.process.stderr is not None
        said = await asyncio.wait_for(service.process.stderr.read(), 30)
        code = await asyncio.wait_for(service.process.wait(), 30)

    assert (2, 1) == (code, len(said.splitlines()))
    assert said.startswith(line)
