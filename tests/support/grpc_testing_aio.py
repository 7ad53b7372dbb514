"""grpc_testing for servicers of grpc.aio.

grpc_testing is sync only: given an aio servicer it reports OK with a coroutine object as the response. Here its sync
servicers are small bridges. grpc_testing runs each call in a thread of its own; the bridge hands the call to an event
loop, waits there, and turns what became of it into what grpc_testing understands. Messages are serialised and parsed
on the way as on the wire.
"""

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc_testing
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from concurrent.futures import Future

PATIENCE = 20.0
"""Seconds after which a call that does not end fails its test."""

_END = object()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: Mapping[str, str | bytes]
    responses: Sequence[Message]


class AioContext:
    """What a handler of grpc.aio needs of its context, over a context of grpc_testing."""

    def __init__(self, context: grpc.ServicerContext, write: Callable[[Any], None], requests: Iterator[Any]) -> None:
        self._context = context
        self._write = write
        self._requests = requests
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._trailing_metadata: tuple[tuple[str, str | bytes], ...] = ()

    async def write(self, message: Any) -> None:
        """Send `message`."""
        self._write(message)

    async def read(self) -> Any:
        """Give the caller's next message, or EOF after the last."""
        message = await asyncio.to_thread(lambda: next(self._requests, None))
        return grpc.aio.EOF if message is None else message

    async def send_initial_metadata(self, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        """Send `metadata` ahead of everything."""
        self._context.send_initial_metadata(tuple(metadata))

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Tell what the caller sent along."""
        return tuple((key, value) for key, value in self._context.invocation_metadata() or ())

    def time_remaining(self) -> float | None:
        """Tell the seconds to the caller's deadline."""
        return self._context.time_remaining()

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        """Note what goes out with the status."""
        self._trailing_metadata = tuple(metadata)

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Tell what goes out with the status."""
        return self._trailing_metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        """Note the status."""
        self._code = code

    def code(self) -> grpc.StatusCode | None:
        """Tell the status."""
        return self._code

    def set_details(self, details: str) -> None:
        """Note the text of the status."""
        self._details = details

    def details(self) -> str:
        """Tell the text of the status."""
        return self._details

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Sequence[tuple[str, str | bytes]] = ()
    ) -> None:
        """End the call with a status."""
        self._code, self._details = code, details
        self._trailing_metadata = tuple(trailing_metadata) or self._trailing_metadata
        raise grpc.aio.AbortError(details)

    async def abort_with_status(self, status: Any) -> None:
        """End the call with a rich status."""
        await self.abort(status.code, status.details, status.trailing_metadata)

    def settle(self) -> None:
        """Give the status to grpc_testing; its own `abort` would lose the metadata."""
        self._context.set_trailing_metadata(self._trailing_metadata)
        if self._code is not None:
            self._context.set_code(self._code)
            self._context.set_details(self._details)


Find = Callable[[MethodDescriptor], Any]
"""Gives the handler of a method, as a server would find it, or None."""


def handlers_of(servicer: object) -> Find:
    """Finds the methods of `servicer`, each as generated code would register it."""
    return lambda method: _handler(method, getattr(servicer, method.name))


class RecordingServer:
    """Stands in for a grpc.aio.Server while a service registers its handlers, and finds them again."""

    def __init__(self) -> None:
        self._handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Keep `handlers`."""
        self._handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Nothing: generated code registers the same handlers in the other way too."""

    def find(self, method: MethodDescriptor) -> Any:
        """Give the first handler that says it serves `method`."""
        found = (handlers.service(_CallDetails(_path(method), ())) for handlers in self._handlers)
        return next(filter(None, found), None)


class AioServer:
    """Handlers of grpc.aio behind a server of grpc_testing, which other threads than the loop's may call.

    `interceptor` is what the real server would put in front of every handler.
    """

    def __init__(
        self,
        services: Iterable[ServiceDescriptor],
        find: Find,
        loop: asyncio.AbstractEventLoop,
        interceptor: grpc.aio.ServerInterceptor | None = None,
    ) -> None:
        bridges = {service: _bridge(service, find, loop, interceptor) for service in services}
        self._server = grpc_testing.server_from_dictionary(bridges, grpc_testing.strict_real_time())

    def call(self, method: MethodDescriptor, requests: Sequence[Message], *, timeout: float | None = None) -> Outcome:
        """Call `method` with `requests` (one where it takes no stream) and wait for the end. Blocks."""
        if method.client_streaming:
            invoke = self._server.invoke_stream_stream if method.server_streaming else self._server.invoke_stream_unary
            rpc = invoke(method, (), timeout)
            for request in requests:
                rpc.send_request(request)
            rpc.requests_closed()
        else:
            (request,) = requests
            invoke = self._server.invoke_unary_stream if method.server_streaming else self._server.invoke_unary_unary
            rpc = invoke(method, (), request, timeout)
        if method.server_streaming:
            metadata, code, details = rpc.termination()
            responses = list(_taken(rpc))
        else:
            response, metadata, code, details = rpc.termination()
            responses = [] if response is None else [response]
        return Outcome(code, details, dict(metadata or ()), responses)


def _taken(rpc: Any) -> Iterator[Message]:
    """All responses of a call that has ended."""
    while True:
        try:
            yield rpc.take_response()
        except ValueError:  # "No more responses!"
            return


def _bridge(
    service: ServiceDescriptor,
    find: Find,
    loop: asyncio.AbstractEventLoop,
    interceptor: grpc.aio.ServerInterceptor | None,
) -> object:
    """A sync servicer whose methods run the handlers that `find` gives on `loop`."""
    methods = {method.name: staticmethod(_behaviour(method, find, loop, interceptor)) for method in service.methods}
    return type(f"{service.name}Bridge", (), methods)()


def _behaviour(
    method: MethodDescriptor,
    find: Find,
    loop: asyncio.AbstractEventLoop,
    interceptor: grpc.aio.ServerInterceptor | None,
) -> Callable[[Any, grpc.ServicerContext], Any]:
    handler = find(method)
    response_class = GetMessageClass(method.output_type)

    async def run(request: Any, context: AioContext) -> Any:
        intercepted = await _intercepted(handler, method, context, interceptor)
        answer = _function(intercepted)(_received(request, intercepted, context), context)
        if not method.server_streaming:
            return _sent(await answer, context, intercepted, response_class)
        if isinstance(answer, AsyncIterator):
            async for response in answer:
                await context.write(response)
        else:
            await answer
        return None

    def requests(request: Any) -> Iterator[Any]:
        # A wrapped handler reads the one message of a unary call as bytes.
        return iter(request if method.client_streaming else [request.SerializeToString()])

    def parse_written(message: Any) -> Message:
        # A wrapped handler may leave the serialising of a stream's messages to the server.
        return message if isinstance(message, Message) else response_class.FromString(message)

    def unary(request: Any, context: grpc.ServicerContext) -> Any:
        shim = AioContext(context, _no_stream, requests(request))
        return _result(asyncio.run_coroutine_threadsafe(run(request, shim), loop), shim)

    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Message]:
        written: queue.SimpleQueue[Any] = queue.SimpleQueue()
        shim = AioContext(context, written.put, requests(request))
        future = asyncio.run_coroutine_threadsafe(run(request, shim), loop)
        future.add_done_callback(lambda _: written.put(_END))
        while (message := written.get(timeout=PATIENCE)) is not _END:
            yield parse_written(message)
        _result(future, shim)

    return stream if method.server_streaming else unary


def _result(future: "Future[Any]", context: AioContext) -> Any:
    """What the handler returned; None after an abort. What else it raised goes on: grpc_testing makes it UNKNOWN."""
    try:
        result = future.result(timeout=PATIENCE)
    except grpc.aio.AbortError:
        result = None
    context.settle()
    return result


def _no_stream(message: Any) -> None:
    raise TypeError(f"a unary call has no stream to write {type(message).__name__} to")


def _handler(method: MethodDescriptor, behaviour: Callable[..., Any]) -> Any:
    """The handler as generated code would register it."""
    kinds = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    make = kinds[method.client_streaming, method.server_streaming]
    return make(
        behaviour, GetMessageClass(method.input_type).FromString, GetMessageClass(method.output_type).SerializeToString
    )


@dataclass(slots=True)
class _CallDetails:
    method: str
    invocation_metadata: tuple[tuple[str, str | bytes], ...]


def _path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


async def _intercepted(
    handler: Any, method: MethodDescriptor, context: AioContext, interceptor: grpc.aio.ServerInterceptor | None
) -> Any:
    if interceptor is None:
        return handler

    async def continuation(details: object) -> Any:
        del details
        return handler

    return await interceptor.intercept_service(continuation, _CallDetails(_path(method), context.invocation_metadata()))


def _function(handler: Any) -> Any:
    return handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream


def _received(request: Any, handler: Any, context: AioContext) -> Any:
    """The request, or the stream of them, as the server would hand it to `handler`: through its bytes."""
    parse = handler.request_deserializer or bytes
    if isinstance(request, Message):
        return parse(request.SerializeToString())
    return _stream(context, parse)


async def _stream(context: AioContext, parse: Callable[[bytes], Any]) -> AsyncIterator[Any]:
    while (message := await context.read()) is not grpc.aio.EOF:
        yield parse(message.SerializeToString())


def _sent(response: Any, context: AioContext, handler: Any, response_class: type[Message]) -> Message | None:
    """The response as the caller gets it: through its bytes. None only where the handler set a status instead."""
    if response is None and context.code() is not None:
        return None
    serialise = handler.response_serializer or bytes
    return response_class.FromString(serialise(response))
