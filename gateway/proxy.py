"""Offers siblings' RPCs at the gateway: an allow-list, and one handler that forwards bytes as they are."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from gateway.relay import WRITE_FAILED, Relay
from servicekit.channel import call_metadata
from servicekit.deadline import remaining
from servicekit.errors import unavailable
from tale.profile.v1 import profile_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2

UNARY_SECONDS: Final = 10.0
UPLOAD_SECONDS: Final = 120.0

_PROFILE: Final[ServiceDescriptor] = profile_pb2.DESCRIPTOR.services_by_name["ProfileService"]
_VOICE: Final[ServiceDescriptor] = voice_pb2.DESCRIPTOR.services_by_name["VoiceService"]
_STORY: Final[ServiceDescriptor] = story_pb2.DESCRIPTOR.services_by_name["StoryService"]

SERVICES: Final = (_PROFILE.full_name, _VOICE.full_name, _STORY.full_name)
"""Services of which some RPC is forwarded."""


def _path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


class ForwardingHandler(grpc.GenericRpcHandler):
    """Forwards the allowed RPCs. Errors of a sibling come through with their details; others are UNIMPLEMENTED."""

    def __init__(self, *, storage: grpc.aio.Channel, voice: grpc.aio.Channel, story: grpc.aio.Channel) -> None:
        allowed: list[tuple[grpc.aio.Channel, MethodDescriptor]] = [
            *((storage, method) for method in _PROFILE.methods),
            *((voice, _VOICE.methods_by_name[name]) for name in ("ListProviders", "ListVoices", "Transcribe")),
            (story, _STORY.methods_by_name["ListModels"]),
        ]
        self._handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]] = {
            _path(method): _handler(channel, method) for channel, method in allowed
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """The handler of an allowed RPC, else None."""
        return self._handlers.get(str(handler_call_details.method))


def _handler(channel: grpc.aio.Channel, method: MethodDescriptor) -> "grpc.RpcMethodHandler[Any, Any]":
    path = _path(method)
    if method.client_streaming:
        return grpc.stream_unary_rpc_method_handler(_forward_upload(channel, path))
    return grpc.unary_unary_rpc_method_handler(_forward_unary(channel, path))


def _forward_unary(channel: grpc.aio.Channel, path: str) -> Any:
    forward: Any = channel.unary_unary(path)

    async def handle(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        timeout = remaining(context, default=UNARY_SECONDS)
        answer: bytes = await forward(request, timeout=timeout, metadata=call_metadata())
        return answer

    return handle


def _forward_upload(channel: grpc.aio.Channel, path: str) -> Any:
    forward: Any = channel.stream_unary(path)

    async def handle(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        timeout = remaining(context, default=UPLOAD_SECONDS)
        call = forward(timeout=timeout, metadata=call_metadata())
        async with Relay(requests, call) as relay:
            try:
                answer: bytes = await call
            except grpc.aio.AioRpcError as error:
                await relay.read_away()
                if error.code() is grpc.StatusCode.INTERNAL and error.details() == WRITE_FAILED:
                    raise unavailable("UPSTREAM_UNAVAILABLE", "A service that this call needs was lost.") from error
                raise
        return answer

    return handle
