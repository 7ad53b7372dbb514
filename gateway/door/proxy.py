"""Forwards the allowed RPCs of peer services; the bytes of messages pass unchanged."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from gateway.door.access import LIST_CHILDREN, own_children, paths
from gateway.door.audit import note_ids
from servicekit.channel import remaining
from servicekit.errors import unavailable
from servicekit.runner import read_away
from servicekit.waiting import Places
from tale.profile.v1 import profile_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2

UNARY_SECONDS: Final = 10.0
UPLOAD_SECONDS: Final = 120.0
_MOST_UPLOADS: Final = 12
"""Uploads that are read at a time; half as many of one owner."""
_WAIT_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 3.0
"""Longest wait for a peer service that is starting; a channel finds it within a second."""

_PROFILE: Final[ServiceDescriptor] = profile_pb2.DESCRIPTOR.services_by_name["ProfileService"]
_VOICE: Final[ServiceDescriptor] = voice_pb2.DESCRIPTOR.services_by_name["VoiceService"]
_STORY: Final[ServiceDescriptor] = story_pb2.DESCRIPTOR.services_by_name["StoryService"]

_WRITE_FAILED: Final = "Internal error from Core"
"""Status message of grpc.aio, in place of the peer's status, when a message could not be written."""

FORWARDED: Final[Sequence[tuple[str, MethodDescriptor]]] = (
    *paths(_PROFILE),
    *paths(_VOICE, "ListProviders", "ListVoices", "Transcribe"),
    *paths(_STORY, "ListModels"),
)
"""The allowed RPCs, by path."""
SERVICES: Final = (_PROFILE.full_name, _VOICE.full_name, _STORY.full_name)
"""Services with a forwarded RPC."""


class ForwardingHandler(grpc.GenericRpcHandler):
    """Forwards the allowed RPCs, and the errors of the peer services with their details; others are UNIMPLEMENTED."""

    def __init__(self, *, storage: grpc.aio.Channel, voice: grpc.aio.Channel, story: grpc.aio.Channel) -> None:
        channels = {_PROFILE: storage, _VOICE: voice, _STORY: story}
        self._handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]] = {
            path: (_upload if method.client_streaming else _unary)(channels[method.containing_service], path)
            for path, method in FORWARDED
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Returns the handler of an allowed RPC, else None."""
        return self._handlers.get(str(handler_call_details.method))


def _unary(channel: grpc.aio.Channel, path: str) -> "grpc.RpcMethodHandler[Any, Any]":
    forward: Any = channel.unary_unary(path)

    async def handle(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        timeout = remaining(context, default=UNARY_SECONDS)
        await _connected(channel, timeout)
        response: bytes = await forward(request, timeout=timeout)
        note_ids(path, response, response=True)
        return own_children(response) if path == LIST_CHILDREN else response

    return grpc.unary_unary_rpc_method_handler(handle)


def _upload(channel: grpc.aio.Channel, path: str) -> "grpc.RpcMethodHandler[Any, Any]":
    forward: Any = channel.stream_unary(path)
    places = Places(
        _MOST_UPLOADS, each=_MOST_UPLOADS // 2, seconds=_WAIT_SECONDS, refusal="Too many files are being uploaded."
    )

    async def handle(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        # Nothing is read until there is a place: what waits takes no memory.
        async with places.place():
            return await upload(requests, remaining(context, default=UPLOAD_SECONDS))

    async def upload(requests: AsyncIterator[bytes], timeout: float) -> bytes:
        await _connected(channel, timeout)
        call = forward(timeout=timeout)
        async with _Forwarder(requests, call) as forwarder:
            try:
                response: bytes = await call
            except grpc.aio.AioRpcError as error:
                await read_away(forwarder.next_request)
                if error.code() is grpc.StatusCode.INTERNAL and error.details() == _WRITE_FAILED:
                    raise unavailable("UPSTREAM_UNAVAILABLE", "A service that this call needs was lost.") from error
                raise
        return response

    return grpc.stream_unary_rpc_method_handler(handle)


async def _connected(channel: grpc.aio.Channel, timeout: float) -> None:
    """Returns once the peer service can be reached, or after a while: then the call fails with the reason."""
    with suppress(TimeoutError):
        async with asyncio.timeout(min(CONNECT_SECONDS, timeout)):
            await channel.channel_ready()


class _Forwarder:
    """A task that writes `requests` to `call`; it waits when the peer service does not read.

    It continues to read after the call has failed, so that the remaining requests can be read away.
    """

    def __init__(self, requests: AsyncIterator[bytes], call: Any) -> None:
        self._requests = requests
        self._call = call
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: self._news.set())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def next_request(self) -> object:
        """Waits for another request; returns EOF after the last one."""
        self._news.clear()
        if not self._task.done():
            await self._news.wait()
        return grpc.aio.EOF if self._task.done() else None

    async def _run(self) -> None:
        accepted = True
        try:
            async for request in self._requests:
                self._news.set()
                accepted = accepted and await self._write(request)
            if accepted and not self._call.done():
                await self._call.done_writing()
        except BaseException:
            # The requests are incomplete: the peer service must not accept them, nor wait for more.
            self._call.cancel()
            raise

    async def _write(self, request: bytes) -> bool:
        try:
            await self._call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The call itself has the error.
            return False
        return True
