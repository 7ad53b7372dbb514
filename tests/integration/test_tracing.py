"""Traces of a story over the four services, as a collector receives them, and what they never hold."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from support.collector import Collector, Received, collector
from support.house import house
from support.openrouter_fake import story as whole
from support.paid_house import MODEL, paid_house
from support.story_models import WHOLE

from servicekit.logging import identify
from servicekit.settings import ConfigurationError
from servicekit.tracer import open_tracer
from standins.watcher import gateway_stub, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client import AsyncTaleClient

Lines: TypeAlias = list[MutableMapping[str, Any]]

GATEWAY = "tale.gateway.v1.GatewayService"
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = (("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01"), ("tracestate", "vendor=1"))


def traced(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Sets the variables that an operator sets."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")


def one(found: list[Received]) -> Received:
    """The one span of a kind."""
    assert len(found) == 1, [span.name for span in found]
    return found[0]


async def told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Collector, common_pb2.Story]:
    """A story of paid providers, created by a caller with a trace of its own, and what the collector received."""
    async with collector() as spans:
        traced(monkeypatch, spans.endpoint)
        async with paid_house(folder) as paid:
            paid.writer.answer(whole(WHOLE))
            request = gateway_pb2.CreateStoryRequest(spec=spec(1))
            stub = gateway_stub(paid.home.channel)
            created = await stub.CreateStory(request, timeout=20, metadata=PARENT)
            watcher = await paid.home.watch(created.story.id)
            assert watcher.done is not None
            story = await paid.home.get(created.story.id)
        # Every service exports what is left when it stops.
        return spans, story


async def test_trace_goes_from_the_caller_to_each_call_of_a_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans, story = await told(tmp_path, monkeypatch)

    created = one(spans.named(f"{GATEWAY}/CreateStory"))
    assert (TRACE_ID, SPAN_ID) == (created.trace_id, created.parent_id)
    assert created.service == "tale-gateway"
    run = one(spans.named("run"))
    assert run.parent_id == created.span_id
    assert run.attributes["tale.story_id"] == story.id
    assert run.attributes["tale.state"] == "STORY_STATE_READY"
    calls = {span.name: span for span in spans.within(run)}
    for service, method, provider, endpoint in (
        ("story", "tale.story.v1.StoryService/GenerateStory", "openrouter", "chat/completions"),
        ("voice", "tale.voice.v1.VoiceService/SynthesizeSpeech", "elevenlabs", "text_to_speech"),
    ):
        served = one([span for span in spans.within(calls[method]) if span.name == method])
        assert served.service == f"tale-{service}"
        assert served.attributes["tale.story_id"] == story.id
        assert f"{endpoint} {provider}" in {span.name for span in spans.within(served)}, list(spans.tree())
    stored = spans.named("tale.storage.v1.SegmentService/PutSegment")
    assert "tale-storage" in {span.service for span in stored}
    assert {TRACE_ID} == {span.trace_id for span in spans.spans if span.service in {"tale-story", "tale-voice"}}
    assert not any(span.failed for span in spans.spans), [span for span in spans.spans if span.failed]


async def test_call_of_a_model_has_its_tokens_and_its_first_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans, story = await told(tmp_path, monkeypatch)

    call = one([span for span in spans.spans if span.name == "chat/completions openrouter"])
    assert call.attributes["gen_ai.request.model"] == MODEL
    assert int(call.attributes["gen_ai.usage.output_tokens"]) == story.usage.completion_tokens
    assert call.events == ("first answer",)


async def test_trace_holds_no_text_and_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spans, story = await told(tmp_path, monkeypatch)

    everything = b"".join(span.raw for span in spans.spans).lower()
    words = [story.title, spec(1).wish, spec(1).child.name, "dragon", *story.content.split(". ")[:20]]
    assert spans.spans
    assert [] == [word for word in words if word and word.lower().encode() in everything]


async def test_story_without_a_collector_is_made_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traced(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    async with house(tmp_path) as home:
        watcher = await home.tell(spec(1))

    assert watcher.done is not None
    assert watcher.done.state == common_pb2.STORY_STATE_READY


@pytest.mark.parametrize(
    ("environ", "loaded"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
    ],
)
def test_sdk_is_loaded_only_where_traces_are_asked_for(environ: dict[str, str], loaded: bool) -> None:
    code = (
        "import sys; from servicekit.server import Server; from servicekit.tracer import open_tracer;"
        " open_tracer('story'); print(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, env=environ, check=True, capture_output=True, text=True, timeout=60).stdout

    assert str(loaded) == output.strip()


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "set otlp, console or none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "set http/protobuf"),
    ],
)
def test_exporter_that_there_is_not_is_refused_at_the_start(name: str, value: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: '{value}' is not supported; {remedy}"):
        open_tracer("story", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", name: value})


@pytest.fixture(name="log")
def _log() -> Iterator[Lines]:
    """The lines of the services."""
    with structlog.testing.capture_logs(processors=[identify]) as lines:
        yield lines


async def test_every_line_about_a_story_has_its_id_and_its_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Lines
) -> None:
    _, story = await told(tmp_path, monkeypatch)

    lines = [line for line in log if line["log_level"] != "debug"]
    about = [line for line in lines if line.get("trace_id") == TRACE_ID]
    nameless = [line for line in about if line.get("story_id") != story.id]
    assert {"story ended", "story written", "narration ended", "upstream call", "call"} <= {
        line["event"] for line in about
    }
    # Before the story has its id: what is looked up for its request.
    assert {"ListProviders", "ListVoices", "CreateStory", "Get"} >= {
        line.get("method", line["event"]).rpartition("/")[2] for line in nameless
    }, nameless
    polls = ("Checkpoint", "Claim", "Follow", "Watch", "GetStory", "ReadAudio")
    others = [line for line in lines if line not in about and line["event"] == "call"]
    assert all(any(poll in line["method"] for poll in polls) for line in others), others


async def test_trace_of_the_caller_is_passed_on_without_a_collector(tmp_path: Path, log: Lines) -> None:
    async with house(tmp_path) as home:
        request = gateway_pb2.CreateStoryRequest(spec=spec(1))
        created = await gateway_stub(home.channel).CreateStory(request, timeout=20, metadata=PARENT)
        await home.watch(created.story.id)

    lines = [line for line in log if line["log_level"] != "debug"]
    methods = {
        line["method"].rpartition("/")[2] for line in lines if line.get("trace_id") == TRACE_ID if "method" in line
    }
    assert {"CreateStory", "GenerateStory", "SynthesizeSpeech", "PutSegment", "FinishAudio"} <= methods


async def test_client_sends_the_span_of_its_program(tmp_path: Path, log: Lines) -> None:
    tracer = TracerProvider().get_tracer("app")
    async with house(tmp_path) as home, AsyncTaleClient(home.servers["gateway"].address) as client:
        with tracer.start_as_current_span("bedtime") as span:
            assert [] == [story async for story in client.list_stories()]

    lines = [line for line in log if line["log_level"] != "debug"]
    listed = [line for line in lines if line.get("method", "").endswith("GatewayService/ListStories")]
    assert [f"{span.get_span_context().trace_id:032x}"] == [line["trace_id"] for line in listed]


async def test_demo_with_the_variables_of_the_page_is_one_trace_of_four_processes(tmp_path: Path) -> None:
    async with collector() as spans:
        environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": spans.endpoint, "TALE_DATA_DIR": str(tmp_path)}
        command = [sys.executable, "-m", "tale_client", "demo", "--minutes", "1", "--out", str(tmp_path / "out")]
        process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=subprocess.DEVNULL)
        assert 0 == await asyncio.wait_for(process.wait(), 90)

    run = one(spans.named("run"))
    services = {span.service for span in spans.spans if span.trace_id == run.trace_id}
    assert {"tale-gateway", "tale-story", "tale-voice", "tale-storage"} == services
