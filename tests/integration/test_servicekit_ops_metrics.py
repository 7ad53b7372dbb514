"""What every server shows its operators: /metrics, /metrics/circuit-breakers, circuits in its status."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import structlog
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families
from support.circuits import provider_error
from support.rpcs import RawApp, call
from support.servers import running

from servicekit.logging import configure
from servicekit.metrics import Metrics
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.errors import ProviderError
from servicekit.resilience.manager import BreakerManager
from servicekit.server import Server
from tale.common.v1 import status_pb2, status_pb2_grpc

EMPTY = {
    "healthy": True,
    "total_breakers": 0,
    "healthy_breakers": 0,
    "open_circuits": [],
    "open_circuits_count": 0,
    "unreachable_services": [],
    "metrics": {},
}


class Breaking(RawApp):
    """A service whose one upstream always fails."""

    def __init__(self) -> None:
        super().__init__(self.fail)
        self.metrics = Metrics()
        self.circuits = BreakerManager(
            {"models": BreakerConfig(name="models", failure_threshold=3)}, metrics=self.metrics
        )

    async def fail(self, _: object) -> bytes:
        """Asks the upstream."""
        try:
            with self.circuits_given.get("models", provider="demo").call():
                raise provider_error()
        except ProviderError:
            return b"failed"

    @property
    def circuits_given(self) -> BreakerManager:
        """The breakers, which are there."""
        assert self.circuits is not None
        return self.circuits


async def get(server: Server, path: str, **headers: str) -> tuple[int, str, str]:
    """Status, content type and body."""
    async with ClientSession(f"http://{server.ops_address}") as http, http.get(path, headers=headers) as answer:
        return answer.status, answer.headers["Content-Type"], await answer.text()


async def samples(server: Server) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All that /metrics shows, by name and labels."""
    status, _, text = await get(server, "/metrics")
    assert 200 == status
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def counted(service: str, method: str, code: str) -> tuple[str, frozenset[tuple[str, str]]]:
    """The key of an RPC's count."""
    labels = {"grpc_service": service, "grpc_method": method, "grpc_code": code}
    return "grpc_server_handled_total", frozenset(labels.items())


async def unknown(channel: grpc.aio.Channel, method: str) -> None:
    """Calls what the server does not have."""
    multicallable: Any = channel.unary_unary(method)
    await multicallable(b"", timeout=10)


def status_stub(channel: grpc.aio.Channel) -> Any:
    """StatusService."""
    return status_pb2_grpc.StatusServiceStub(channel)


async def test_a_server_without_circuits_says_so() -> None:
    """Exactly this."""

    async def fine(_: object) -> bytes:
        return b"fine"

    async with running(RawApp(fine)) as service:
        assert EMPTY == json.loads((await get(service.server, "/metrics/circuit-breakers"))[2])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await status_stub(service.channel).ResetCircuit(status_pb2.ResetCircuitRequest(name="models"), timeout=10)

    assert grpc.StatusCode.NOT_FOUND is caught.value.code()


async def test_an_open_circuit_is_shown_everywhere_and_reset() -> None:
    """In the report, in the metrics, in the status; a reset closes it."""
    app = Breaking()
    async with running(app) as service:
        for _ in range(4):
            await call(service.channel, "UnaryUnary")
        report = json.loads((await get(service.server, "/metrics/circuit-breakers"))[2])
        shown = await samples(service.server)
        stub = status_stub(service.channel)
        told = (await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=10)).status.circuits
        reset = (await stub.ResetCircuit(status_pb2.ResetCircuitRequest(name="models"), timeout=10)).circuit
        after = json.loads((await get(service.server, "/metrics/circuit-breakers"))[2])

    assert (False, 1, 0, ["models"], 1) == (
        report["healthy"],
        report["total_breakers"],
        report["healthy_breakers"],
        report["open_circuits"],
        report["open_circuits_count"],
    )
    assert ("open", 3, 3, 0.0, 1) == tuple(
        report["metrics"]["models"][each]
        for each in ("state", "total_calls", "failed_calls", "success_rate", "rejected_calls")
    )
    assert 1.0 == shown["circuit_breaker_state", frozenset({"circuit": "models", "state": "open"}.items())]
    assert [("models", status_pb2.CIRCUIT_STATE_OPEN, 3)] == [
        (circuit.name, circuit.state, circuit.failed_calls) for circuit in told
    ]
    assert (status_pb2.CIRCUIT_STATE_CLOSED, True) == (reset.state, after["healthy"])


async def test_rpcs_of_every_kind_are_counted() -> None:
    """By method and code; what the server does not have is "other"; a stream counts once, at its end."""

    async def fine(_: object) -> bytes:
        return b"fine"

    async with running(RawApp(fine)) as service:
        for kind in ("UnaryUnary", "StreamUnary"):
            await call(service.channel, kind)
        async for _ in call(service.channel, "UnaryStream"):
            pass
        for method in ("/test.Raw/Nothing", "/made.Up/Name"):
            with pytest.raises(grpc.aio.AioRpcError):
                await unknown(service.channel, method)
        shown = await samples(service.server)
        # A call is counted after its caller has the status.
        async with asyncio.timeout(20):
            while shown.get(counted("other", "other", "UNIMPLEMENTED"), 0) < 2:
                await asyncio.sleep(0.01)
                shown = await samples(service.server)

    assert [1, 1, 1, 2] == [
        shown[counted(*key)]
        for key in (
            ("test.Raw", "UnaryUnary", "OK"),
            ("test.Raw", "StreamUnary", "OK"),
            ("test.Raw", "UnaryStream", "OK"),
            ("other", "other", "UNIMPLEMENTED"),
        )
    ]
    assert not [key for key in shown if "made.Up" in str(key)]


async def test_a_cancelled_call_is_counted_as_such() -> None:
    """Its caller went away."""
    begun = asyncio.Event()

    async def forever(_: object) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b"never"

    app = RawApp(forever)
    app.metrics = Metrics()
    async with running(app, drain_seconds=20) as service:
        waiting = call(service.channel, "UnaryUnary")
        await asyncio.wait_for(begun.wait(), 10)
        waiting.cancel()
    labels = {"grpc_service": "test.Raw", "grpc_method": "UnaryUnary", "grpc_code": "CANCELLED"}

    assert 1 == app.metrics.registry.get_sample_value("grpc_server_handled_total", labels)


async def test_a_scraper_gets_the_format_that_it_asks_for() -> None:
    """Text by default, OpenMetrics where it is wanted."""

    async def fine(_: object) -> bytes:
        return b"fine"

    async with running(RawApp(fine)) as service:
        plain = await get(service.server, "/metrics")
        modern = await get(service.server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")

    assert plain[1].startswith("text/plain; version=")
    assert (True, True) == (modern[1].startswith("application/openmetrics-text"), modern[2].endswith("# EOF\n"))


@pytest.fixture
def _logging_as_it_was() -> Iterator[None]:
    """Takes back what a test sets up for the whole process."""
    root = logging.getLogger()
    level, handlers, config = root.level, list(root.handlers), structlog.get_config()
    names = ("test.quiet", "test.loud", "httpx", "httpx2", "httpcore", "httpcore2", "hpack", "openai", "elevenlabs")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.setLevel(level)
    root.handlers = handlers
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.configure(**config)


@pytest.mark.usefixtures("_logging_as_it_was")
def test_levels_are_set_for_each_logger() -> None:
    """LOG_LEVELS makes one logger louder and another quieter than LOG_LEVEL, ours and those of libraries."""
    stream = io.StringIO()
    configure(
        "test", level="INFO", levels={"test.loud": "DEBUG", "test.quiet": "ERROR"}, log_format="json", stream=stream
    )
    for name in ("test.loud", "test.quiet", "test.other"):
        for log in (structlog.stdlib.get_logger(name), logging.getLogger(f"{name}.library")):
            log.debug("debug")
            log.info("info")
            log.error("error")
    said = [(line["logger"], line["event"]) for line in map(json.loads, stream.getvalue().splitlines())]

    assert [
        *[(name, event) for name in ("test.loud", "test.loud.library") for event in ("debug", "info", "error")],
        *[(name, "error") for name in ("test.quiet", "test.quiet.library")],
        *[(name, event) for name in ("test.other", "test.other.library") for event in ("info", "error")],
    ] == said


@pytest.mark.usefixtures("_logging_as_it_was")
def test_libraries_that_call_providers_never_log_what_they_send() -> None:
    """At DEBUG they would; they warn by default, and tell no more than INFO when asked for more."""
    stream = io.StringIO()
    configure("test", level="DEBUG", levels={"openai": "DEBUG"}, log_format="json", stream=stream)
    for name in ("openai._base_client", "httpx2", "httpcore.http11", "elevenlabs"):
        logging.getLogger(name).debug("a prompt")
        logging.getLogger(name).info("a call")
        logging.getLogger(name).warning("a warning")
    said = [(line["logger"], line["event"]) for line in map(json.loads, stream.getvalue().splitlines())]

    assert [
        ("openai._base_client", "a call"),
        *((name, "a warning") for name in ("openai._base_client", "httpx2", "httpcore.http11", "elevenlabs")),
    ] == said
