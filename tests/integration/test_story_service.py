"""The story service behind a real server: the wire, cancellation, drain, deadlines."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.servers import Running, running
from support.story_writers import MOMENT, ScriptedWriter, attempt

from servicekit.ids import new_id
from servicekit.status import from_rpc_error
from story_service.app import StoryApp
from story_service.generation.generation import StoryGenerator
from story_service.generation.selection import ModelSelector
from story_service.models.catalogue import ModelList
from story_service.models.known_models import KNOWN_MODELS
from story_service.ports import AttemptItem, AttemptStarted, AttemptText, AttemptTitle
from story_service.wire.servicer import StoryServicer
from tale.common.v1 import common_pb2, status_pb2, status_pb2_grpc
from tale.story.v1 import story_pb2, story_pb2_grpc

_OPENING: list[AttemptItem] = [
    AttemptStarted(model="offline", provider="scripted"),
    AttemptTitle("Mia"),
    AttemptText("Once."),
]


@asynccontextmanager
async def _story_service(
    writer: ScriptedWriter, *, total_timeout: float = 60, drain_seconds: float = 1
) -> AsyncIterator["tuple[story_pb2_grpc.StoryServiceAsyncStub, Running]"]:
    selector = ModelSelector(default_model="openai/gpt-4o-mini", fallback_models=(), providers=())
    servicer = StoryServicer(
        generator=StoryGenerator(selector=selector, writers={"offline": writer}),
        catalogue=ModelList([], default=str, fallback_models=(), language_codes=["en"]),
        total_timeout=total_timeout,
        now=lambda: MOMENT,
    )
    app = StoryApp(servicer, default_model=str, warnings=["No key."])
    async with running(app, service="story", drain_seconds=drain_seconds) as service:
        yield story_pb2_grpc.StoryServiceStub(service.channel), service


def _request(model: str = "") -> story_pb2.GenerateStoryRequest:
    spec = common_pb2.StorySpec(child=common_pb2.Child(name="Mia"), model=model)
    return story_pb2.GenerateStoryRequest(story_id=new_id(), spec=spec)


async def test_story_arrives_as_the_contract_says() -> None:
    """Started, warning, title, text, attempt and complete, field by field."""
    async with _story_service(ScriptedWriter(attempt("# Mia", "Once.", " Twice."))) as (stub, _):
        told = [response async for response in stub.GenerateStory(_request(), timeout=10)]

    assert [response.WhichOneof("event") for response in told] == [
        "started",
        "warning",
        "title",
        "delta",
        "attempt",
        "warning",
        "complete",
    ]
    started, warning, title, text, call, shorter, complete = told
    assert "SHORTER_THAN_ASKED" == shorter.warning.reason
    assert json_format.MessageToDict(started.started) == {"model": "offline", "provider": "scripted", "embedded": True}
    assert ("EMBEDDED_WRITER", MOMENT.timestamp()) == (warning.warning.reason, warning.warning.time.seconds)
    assert title.title.title == "Mia"
    assert story_pb2.TextDelta(offset=0, text="Once. Twice.") == text.delta
    assert call.attempt.kind == common_pb2.ATTEMPT_KIND_MODEL_CALL
    assert (call.attempt.outcome, call.attempt.segment_index) == (common_pb2.ATTEMPT_OUTCOME_SUCCEEDED, -1)
    assert (call.attempt.cost_usd, call.attempt.cost_known) == (0.25, True)
    done = complete.complete
    assert (12, hashlib.sha256(b"Once. Twice.").digest()) == (done.content_length, done.content_sha256)
    assert common_pb2.Usage(prompt_tokens=3, completion_tokens=5, cost_usd=0.25, cost_known=True) == done.usage
    assert "1" == call.attempt.response["id"]
    assert done.embedded


async def test_violations_arrive_with_their_paths() -> None:
    """An empty request is INVALID_ARGUMENT with every field that it lacks."""
    async with _story_service(ScriptedWriter([])) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GenerateStory(story_pb2.GenerateStoryRequest(), timeout=10).read()

    error = from_rpc_error(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED")
    assert [violation.field for violation in error.violations] == ["child", "story_id"]


async def test_paid_model_without_a_key_names_the_variable() -> None:
    """The caller learns which variable brings the model that was asked for."""
    writer = ScriptedWriter([])
    async with _story_service(writer) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GenerateStory(_request("openai/gpt-4o"), timeout=10).read()

    error = from_rpc_error(caught.value)
    assert error.reason == "INVALID_CONFIGURATION"
    assert error.metadata["environment_variable"] == "OPENROUTER_API_KEY"
    assert writer.asked == []


async def test_caller_who_leaves_stops_the_writing() -> None:
    """Cancelling the call closes the writer."""
    writer = ScriptedWriter(_OPENING, endless=True)
    async with _story_service(writer) as (stub, _):
        call = stub.GenerateStory(_request("offline"), timeout=60)
        responses = aiter(call)
        seen = [(await anext(responses)).WhichOneof("event") for _ in range(3)]
        assert not writer.closed.is_set()
        call.cancel()
        async with asyncio.timeout(10):
            await writer.closed.wait()

    assert seen == ["started", "title", "delta"]


async def test_call_ends_at_its_total_bound() -> None:
    """A writer that never ends is UNAVAILABLE in the end, and closed."""
    writer = ScriptedWriter(_OPENING, endless=True)
    async with _story_service(writer, total_timeout=0.2) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [_ async for _ in stub.GenerateStory(_request("offline"), timeout=30)]

    error = from_rpc_error(caught.value)
    assert (error.reason, error.metadata["kind"]) == ("UPSTREAM_UNAVAILABLE", "TIMEOUT")
    assert writer.closed.is_set()


async def test_stream_in_flight_may_end_while_the_server_drains() -> None:
    """A drain waits for the story that is being written."""
    writer = ScriptedWriter([*_OPENING, *attempt("", "Once.")[2:]], gate=asyncio.Event())
    async with _story_service(writer, drain_seconds=30) as (stub, service):
        call = stub.GenerateStory(_request("offline"), timeout=30)
        responses = aiter(call)
        await anext(responses)
        drain = asyncio.create_task(service.server.drain())
        await _not_serving(service)
        writer.open()
        told = [response.WhichOneof("event") async for response in responses]
        await drain

    assert told[-1] == "complete"


async def test_stream_that_outlasts_the_drain_is_told_to_reconnect() -> None:
    """When DRAIN_SECONDS are over, what is still written ends with RECONNECT."""
    writer = ScriptedWriter(_OPENING, endless=True)
    async with _story_service(writer, drain_seconds=0) as (stub, service):
        call = stub.GenerateStory(_request("offline"), timeout=30)
        responses = aiter(call)
        await anext(responses)
        drain = asyncio.create_task(service.server.drain())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [_ async for _ in responses]
        await drain

    error = from_rpc_error(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "RECONNECT")
    assert writer.closed.is_set()


async def _not_serving(service: Running) -> None:
    health = health_pb2_grpc.HealthStub(service.channel)
    async for response in health.Watch(  # type: ignore[attr-defined] # missing in the stubs
        health_pb2.HealthCheckRequest(), timeout=10
    ):
        if response.status == health_pb2.HealthCheckResponse.NOT_SERVING:
            return


async def test_models_are_listed_in_pages() -> None:
    """`page_size` and `page_token` walk the catalogue; 0 gives all."""
    async with _story_service(ScriptedWriter([])) as (stub, _):
        everything = await stub.ListModels(story_pb2.ListModelsRequest(), timeout=10)
        first = await stub.ListModels(story_pb2.ListModelsRequest(page_size=2), timeout=10)
        second = await stub.ListModels(
            story_pb2.ListModelsRequest(page_size=2, page_token=first.next_page_token), timeout=10
        )

    assert ["offline", *(model.id for model in KNOWN_MODELS)] == [model.id for model in everything.models]
    assert "" == everything.next_page_token
    assert [*first.models, *second.models] == everything.models[:4]
    assert second.next_page_token


@pytest.mark.parametrize("wrong", [{"page_size": 101}, {"page_token": "?"}, {"page_token": "x" * 513}])
async def test_bad_page_is_refused_by_its_field(wrong: dict[str, Any]) -> None:
    """By its rule, or since no answer had such a token."""
    request = story_pb2.ListModelsRequest(**wrong)
    async with _story_service(ScriptedWriter([])) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListModels(request, timeout=10)

    assert [violation.field for violation in from_rpc_error(caught.value).violations] == list(wrong)


async def test_status_says_that_the_writer_is_embedded() -> None:
    """Which part is embedded, which variable replaces it, which providers there are, and the warnings."""
    async with _story_service(ScriptedWriter([])) as (_, service):
        stub = status_pb2_grpc.StatusServiceStub(service.channel)
        status = (await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=10)).status

    assert [
        status_pb2.EmbeddedPart(
            part="writer", implementation="offline", environment_variables=["OPENROUTER_API_KEY", "CHAT_BASE_URL"]
        )
    ] == list(status.embedded_parts)
    assert [(p.name, p.available) for p in status.providers] == [
        ("openrouter", False),
        ("chat", False),
        ("offline", True),
    ]
    assert list(status.warnings) == ["No key."]
