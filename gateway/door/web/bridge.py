"""Serves the RPCs of the gateway's gRPC port over the Connect protocol, gRPC-Web, and as JSON.

Each request becomes a call of the gateway's own gRPC server, so that authentication, rules, quotas, audit and errors
are in their one place.
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import grpc
from connectrpc.code import Code
from connectrpc.codec import Codec
from connectrpc.compat import google_protobuf_binary_codec
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import Headers, RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf.any_pb2 import Any as AnyDetail
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict, MessageToJson, Parse, ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from protobuf import Message as WireMessage
from protobuf import message_from_json_value
from protobuf.wkt import Any as WireAny
from protobuf.wkt import Struct

from gateway.door.access import GATEWAY, STATUS, paths
from gateway.door.proxy import FORWARDED
from servicekit.context import REQUEST_ID_KEY
from servicekit.errors import FieldViolation, validation_failed
from servicekit.status import DETAILS_KEY, to_status

MAX_MESSAGE_BYTES: Final = 1 << 20
"""Maximum size of a message in a request."""

_HEALTH: Final[Any] = health_pb2.DESCRIPTOR.services_by_name["Health"]
METHODS: Final[Mapping[str, MethodDescriptor]] = dict((*paths(GATEWAY), *paths(STATUS), *FORWARDED, *paths(_HEALTH)))
"""The RPCs that the gRPC port answers, by path; reflection needs HTTP/2."""

_PASSED_ON: Final = frozenset({"authorization", REQUEST_ID_KEY, "traceparent", "tracestate"})
_DETAILS: Final = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)

# The two spell one of them differently.
_CODES: Final = {
    each.value[0]: Code[each.name.replace("CANCELLED", "CANCELED")]
    for each in grpc.StatusCode
    if each is not grpc.StatusCode.OK
}

_Context = RequestContext[Any, Any]


class Bridge(ConnectASGIApplication[grpc.aio.Channel]):
    """An ASGI application with every RPC of the gateway, which calls its gRPC server through `channel`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(
            service=channel,
            endpoints=_endpoints,
            read_max_bytes=MAX_MESSAGE_BYTES,
            # Compressing audio, or every event of a stream, takes more time than it saves.
            compressions=(),
            codecs=(google_protobuf_binary_codec(), _JsonCodec()),
        )

    @property
    def path(self) -> str:
        """The folder of all paths."""
        return "/"


def connect_error(status: status_pb2.Status) -> ConnectError:
    """Returns a rich status as the error of a Connect call; its details can be read in JSON as well."""
    return ConnectError(_CODES.get(status.code, Code.UNKNOWN), status.message, map(_ReadableDetail, status.details))


class _JsonCodec(Codec[Message, Any]):
    """JSON of protobuf. A field that does not exist is an error: else a misspelt one would be ignored."""

    def name(self) -> str:
        return "json"

    def encode(self, message: Message) -> bytes:
        return MessageToJson(message, indent=None, ensure_ascii=False).encode()

    def decode(self, data: bytes | bytearray, message_class: type[Any]) -> Any:
        try:
            return Parse(bytes(data), message_class())
        except (ParseError, ValueError, TypeError, RecursionError) as error:
            why = str(error).partition("\n")[0]
            what = FieldViolation("request", f"must be a {message_class.DESCRIPTOR.full_name} in JSON ({why})")
            raise connect_error(to_status(validation_failed([what]))) from None


class _ReadableDetail(ErrorDetail):
    """A detail of an error, whose JSON has its fields beside its bytes."""

    def __init__(self, detail: AnyDetail) -> None:
        super().__init__(WireAny(type_url=detail.type_url, value=detail.value))
        self._fields: WireMessage | None = None
        for kind in _DETAILS:
            message = kind()
            if detail.Unpack(message):
                self._fields = message_from_json_value(Struct, MessageToDict(message))

    def value(self, *_: Any) -> Any:
        """Returns its fields."""
        return self._fields


def _endpoints(channel: grpc.aio.Channel) -> Mapping[str, Any]:
    return {path: _endpoint(channel, path, method) for path, method in METHODS.items()}


def _endpoint(channel: grpc.aio.Channel, path: str, method: MethodDescriptor) -> Any:
    info: MethodInfo[Any, Any] = MethodInfo(
        name=method.name,
        service_name=method.containing_service.full_name,
        input=GetMessageClass(method.input_type),
        output=GetMessageClass(method.output_type),
        # None is answered to GET, which a page of another origin may send.
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=_STREAMS[method.client_streaming, method.server_streaming],
    )
    open_call = {
        StreamType.UNARY: channel.unary_unary,
        StreamType.SERVER_STREAM: channel.unary_stream,
        StreamType.CLIENT_STREAM: channel.stream_unary,
    }[info.stream_type]
    call: Any = open_call(
        path, request_serializer=info.input.SerializeToString, response_deserializer=info.output.FromString
    )
    match info.stream_type:
        case StreamType.UNARY:
            return Endpoint.unary(info, partial(_unary, call))
        case StreamType.SERVER_STREAM:
            return Endpoint.server_stream(info, partial(_server_stream, call))
        case _:
            return Endpoint.client_stream(info, partial(_client_stream, call))


_STREAMS: Final = {
    (False, False): StreamType.UNARY,
    (False, True): StreamType.SERVER_STREAM,
    (True, False): StreamType.CLIENT_STREAM,
}


async def _unary(multicallable: Any, request: Message, context: _Context) -> Message:
    async with _bridged(multicallable(request, **_options(context)), context) as call:
        response: Message = await call
    return response


async def _server_stream(multicallable: Any, request: Message, context: _Context) -> AsyncIterator[Message]:
    async with _bridged(multicallable(request, **_options(context)), context) as call:
        async for response in call:
            yield response


async def _client_stream(multicallable: Any, requests: AsyncIterator[Message], context: _Context) -> Message:
    async with _bridged(multicallable(**_options(context)), context) as call:
        # The call itself has the error if it ends before the last request.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            async for request in requests:
                await call.write(request)
            await call.done_writing()
        response: Message = await call
    return response


@asynccontextmanager
async def _bridged(call: Any, context: _Context) -> AsyncIterator[Any]:
    """Yields a call of the gRPC server, which ends with the block; its metadata and status become the request's."""
    try:
        _add(context.response_headers, await call.initial_metadata())
        yield call
        _add(context.response_trailers, await call.trailing_metadata())
    except grpc.aio.AioRpcError as error:
        trailers = error.trailing_metadata() or ()
        _add(context.response_trailers, trailers)
        rich = next((value for key, value in trailers if key == DETAILS_KEY and isinstance(value, bytes)), b"")
        status = status_pb2.Status.FromString(rich)
        status.code, status.message = error.code().value[0], error.details() or ""
        raise connect_error(status) from None
    finally:
        call.cancel()


def _options(context: _Context) -> dict[str, Any]:
    left = context.timeout_ms
    metadata = tuple((key, value) for key, value in context.request_headers.allitems() if key in _PASSED_ON)
    return {"metadata": metadata, "timeout": None if left is None else max(0.0, left / 1000)}


def _add(headers: Headers, metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
    for key, value in metadata or ():
        if key != DETAILS_KEY:
            headers.add(key, value if isinstance(value, str) else b64encode(value).decode().rstrip("="))
