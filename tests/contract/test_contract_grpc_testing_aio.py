"""The adapter that lets grpc_testing drive servicers of grpc.aio: no failure may look like a success."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from support.grpc_testing_aio import AioServer, Outcome, handlers_of

from servicekit.authentication import TrustedCaller
from servicekit.errors import not_found
from servicekit.ids import new_id
from servicekit.interceptor import CallInterceptor
from servicekit.runner import CallTracker
from tale.common.v1 import common_pb2, status_pb2
from tale.storage.v1 import segment_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2

_UNARY = status_pb2.DESCRIPTOR.services_by_name["StatusService"].methods_by_name["GetStatus"]
_OUT = story_pb2.DESCRIPTOR.services_by_name["StoryService"].methods_by_name["GenerateStory"]
_IN = segment_pb2.DESCRIPTOR.services_by_name["SegmentService"].methods_by_name["PutSegment"]
_BOTH = voice_pb2.DESCRIPTOR.services_by_name["VoiceService"].methods_by_name["SynthesizeSpeech"]
_ALL = pytest.mark.parametrize("method", [_UNARY, _OUT, _IN, _BOTH], ids=["unary", "out", "in", "both"])


def _least(method: MethodDescriptor) -> Message:
    if method is _UNARY:
        return status_pb2.GetStatusRequest()
    if method is _OUT:
        return story_pb2.GenerateStoryRequest(story_id=new_id(), child=common_pb2.Child(name="Mia"))
    if method is _IN:
        return segment_pb2.PutSegmentRequest()
    return voice_pb2.SynthesizeSpeechRequest()


class _Servicer:
    """Answers every RPC of the four services through `behaviour`."""

    def __init__(self, behaviour: Any) -> None:
        self._behaviour = behaviour

    def __getattr__(self, name: str) -> Any:
        return self._behaviour


async def _call(
    behaviour: Any, method: MethodDescriptor, requests: Sequence[Message] | None = None, *, with_kit: bool = False
) -> Outcome:
    tracker = CallTracker()
    tracker.open()
    server = AioServer(
        [method.containing_service],
        handlers_of(_Servicer(behaviour)),
        asyncio.get_running_loop(),
        CallInterceptor(tracker, TrustedCaller()) if with_kit else None,
    )
    return await asyncio.to_thread(server.call, method, [_least(method)] if requests is None else requests)


async def _raise(_request: object, _context: object) -> None:
    raise RuntimeError("boom")


async def _yield_and_raise(_request: object, _context: object) -> AsyncIterator[object]:
    yield story_pb2.GenerateStoryResponse()
    raise RuntimeError("boom")


@_ALL
async def test_a_handler_that_raises_is_not_ok(method: MethodDescriptor) -> None:
    """An exception is UNKNOWN, as with a bare server."""
    assert (await _call(_raise, method)).code is grpc.StatusCode.UNKNOWN


@_ALL
async def test_a_handler_that_raises_behind_the_kit_is_internal(method: MethodDescriptor) -> None:
    """With the kit's interceptor it is INTERNAL, and its text stays inside."""
    outcome = await _call(_raise, method, with_kit=True)

    assert outcome.code is grpc.StatusCode.INTERNAL
    assert "boom" not in outcome.details
    assert "grpc-status-details-bin" in outcome.trailing_metadata


async def test_a_stream_that_raises_midway_keeps_what_it_gave() -> None:
    """The responses before the failure count, and so does the failure."""
    outcome = await _call(_yield_and_raise, _OUT)

    assert outcome.code is grpc.StatusCode.UNKNOWN
    assert [story_pb2.GenerateStoryResponse()] == outcome.responses


@_ALL
async def test_an_abort_gives_its_status(method: MethodDescriptor) -> None:
    """Code, text and metadata of an abort arrive."""

    async def abort(_request: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(grpc.StatusCode.NOT_FOUND, "gone", (("k", "v"),))

    outcome = await _call(abort, method)

    assert (outcome.code, outcome.details) == (grpc.StatusCode.NOT_FOUND, "gone")
    assert outcome.trailing_metadata["k"] == "v"


@_ALL
async def test_a_domain_error_is_mapped_by_the_kit(method: MethodDescriptor) -> None:
    """What a real caller gets is what the contract tests see."""

    async def refuse(_request: object, _context: object) -> None:
        raise not_found("STORY_NOT_FOUND", "There is no such story.")

    outcome = await _call(refuse, method, with_kit=True)

    assert (outcome.code, outcome.details) == (grpc.StatusCode.NOT_FOUND, "There is no such story.")


@pytest.mark.parametrize("method", [_UNARY, _IN], ids=["unary", "in"])
async def test_a_handler_that_returns_nothing_is_not_ok(method: MethodDescriptor) -> None:
    """None is no response."""

    async def nothing(_request: object, _context: object) -> None:
        return None

    assert (await _call(nothing, method)).code is grpc.StatusCode.UNKNOWN


async def test_a_plain_function_is_not_ok() -> None:
    """A handler that is not async, such as the generated default, is a defect here."""

    def sync(_request: object, _context: object) -> status_pb2.GetStatusResponse:
        return status_pb2.GetStatusResponse()

    assert (await _call(sync, _UNARY)).code is grpc.StatusCode.UNKNOWN


@pytest.mark.parametrize("with_kit", [False, True])
async def test_a_unary_response_arrives(with_kit: bool) -> None:
    """A good call is OK with the message itself, never a coroutine."""
    response = status_pb2.GetStatusResponse(status=status_pb2.ServiceStatus(service="story"))

    async def answer(request: status_pb2.GetStatusRequest, _context: object) -> status_pb2.GetStatusResponse:
        assert request == status_pb2.GetStatusRequest()
        return response

    outcome = await _call(answer, _UNARY, with_kit=with_kit)

    assert (grpc.StatusCode.OK, [response]) == (outcome.code, outcome.responses)


@pytest.mark.parametrize("with_kit", [False, True])
@pytest.mark.parametrize("writes", [False, True])
async def test_a_stream_of_responses_arrives(writes: bool, with_kit: bool) -> None:
    """Async generators and handlers that use `context.write` both work."""
    responses = [story_pb2.GenerateStoryResponse(delta=story_pb2.TextDelta(offset=n)) for n in range(3)]

    async def generate(_request: object, _context: object) -> AsyncIterator[story_pb2.GenerateStoryResponse]:
        for response in responses:
            yield response

    async def write(_request: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        for response in responses:
            await context.write(response)

    outcome = await _call(write if writes else generate, _OUT, with_kit=with_kit)

    assert (grpc.StatusCode.OK, responses) == (outcome.code, outcome.responses)


@pytest.mark.parametrize("with_kit", [False, True])
async def test_a_stream_of_requests_arrives(with_kit: bool) -> None:
    """Every request reaches the handler, and the end of them."""
    requests = [segment_pb2.PutSegmentRequest(chunk=bytes([n])) for n in range(3)]

    async def gather(stream: AsyncIterator[Message], _context: object) -> segment_pb2.PutSegmentResponse:
        assert requests == [request async for request in stream]
        return segment_pb2.PutSegmentResponse()

    outcome = await _call(gather, _IN, requests, with_kit=with_kit)

    assert (grpc.StatusCode.OK, [segment_pb2.PutSegmentResponse()]) == (outcome.code, outcome.responses)


@pytest.mark.parametrize("with_kit", [False, True])
async def test_streams_both_ways_work(with_kit: bool) -> None:
    """Responses may follow the requests one by one."""
    pieces = [voice_pb2.SynthesizeSpeechRequest(text=voice_pb2.TextPiece(text=word)) for word in ("a", "b")]

    async def echo(
        stream: AsyncIterator[voice_pb2.SynthesizeSpeechRequest], _context: object
    ) -> AsyncIterator[voice_pb2.SynthesizeSpeechResponse]:
        async for request in stream:
            yield voice_pb2.SynthesizeSpeechResponse(chunk=voice_pb2.AudioChunk(data=request.text.text.encode()))

    outcome = await _call(echo, _BOTH, pieces, with_kit=with_kit)

    chunks = [voice_pb2.SynthesizeSpeechResponse(chunk=voice_pb2.AudioChunk(data=data)) for data in (b"a", b"b")]
    assert (grpc.StatusCode.OK, chunks) == (outcome.code, outcome.responses)
