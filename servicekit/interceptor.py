"""The one interceptor of every server: it wraps handlers so that a `CallRunner` runs their calls.

It is one since each interceptor in Python costs about a quarter of the throughput of small calls.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, Never, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from servicekit.authentication import Authenticator
from servicekit.errors import DomainError, FieldViolation, reconnect, validation_failed
from servicekit.metrics import Metrics
from servicekit.runner import Answered, CallRunner, CallTracker, Context, Limit
from servicekit.tracing import Tracer
from servicekit.validation import validate
from servicekit.waiting import IdleTimeout

# In quotes: the class is generic for type checkers alone.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Admit: TypeAlias = Callable[[str, Any], Awaitable[None]]

# A caller that reads nothing for this long holds a call, and a drain, for nothing; it can come back by offset.
_STALL_SECONDS: Final = 120.0

_MESSAGE_SECONDS: Final = 30.0
"""Longest wait for the message of a call that has one."""

_CANCELLED_SECONDS: Final = 0.1
"""How long after the end of a call without a message its cancellation may come."""

_MALFORMED: Final = FieldViolation("request", "must be a well-formed message of the type that the method takes")
_LATE: Final = FieldViolation("request", f"must arrive within {_MESSAGE_SECONDS:g} seconds")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Has every call run by a `CallRunner`.

    Works for all four kinds of RPC, for handlers that are coroutines or async generators, and for generic handlers
    without serializers. An unknown method is UNIMPLEMENTED with a rich status like any other failure.
    """

    def __init__(
        self,
        tracker: CallTracker,
        authenticator: Authenticator,
        metrics: Metrics | None = None,
        *,
        admit: Admit | None = None,
        limit: Limit | None = None,
        answered: Answered | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """`admit` refuses requests by what they ask for; `limit`, `answered`, `tracer`: see CallRunner."""
        self._runner = CallRunner(tracker, authenticator, metrics, limit=limit, answered=answered, tracer=tracer)
        self._admit = admit or _admit_all

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Awaitable[Handler | None]"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Returns the call's handler, wrapped."""
        known = True
        try:
            handler = await continuation(handler_call_details)
        except Exception as error:  # noqa: BLE001 - finding a handler runs code of the services, too
            handler, known = _failing(error), False
        if handler is None:
            handler, known = _failing(DomainError("UNIMPLEMENTED", "This server has no such method.")), False
        return _wrapped(handler, handler_call_details.method, self._runner, self._admit, known=known)


def _failing(error: Exception) -> Handler:
    """Returns a handler that raises `error`; streams both ways suit callers of every kind."""

    async def fail(requests: object, context: Context) -> Never:
        del requests, context
        raise error

    return grpc.stream_stream_rpc_method_handler(fail)


async def _admit_all(method: str, request: Any) -> None:
    del method, request


def _admitting(
    method: str, decode: Callable[[bytes], Any], admit: Admit, *, streamed: bool
) -> Callable[[Any, Context], Awaitable[Any]]:
    async def admitted(requests: Any, context: Context) -> Any:
        if streamed:
            await admit(method, None)
            return requests
        try:
            async with asyncio.timeout(_MESSAGE_SECONDS):
                raw = await context.read()
        except TimeoutError:
            raise validation_failed([_LATE]) from None
        if raw is grpc.aio.EOF:
            # Where the caller has cancelled, gRPC reads the same, and cancels this task a moment later.
            await asyncio.sleep(_CANCELLED_SECONDS)
            raise validation_failed([_MALFORMED])
        request = decode(raw)
        await admit(method, request)
        return request

    return admitted


def _wrapped(handler: Handler, method: str, runner: CallRunner, admit: Admit, *, known: bool) -> Handler:
    decode = _checked(handler.request_deserializer)
    encode = handler.response_serializer
    admitted = _admitting(method, decode, admit, streamed=handler.request_streaming)

    async def unary(request: Any, context: Context) -> Any:
        async def body() -> Any:
            response = await behaviour(await admitted(request, context), context)
            return response if encode is None else encode(response)

        return await runner.run(method, context, body, streamed=handler.request_streaming, known=known)

    async def stream(request: Any, context: Context) -> None:
        async def body() -> None:
            await _send(behaviour(await admitted(request, context), context), context)

        streamed = handler.request_streaming
        await runner.run(method, context, body, streamed=streamed, answers_stream=True, known=known)

    behaviour: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    if behaviour is None:
        raise TypeError("a method handler without a behaviour")
    # To gRPC all are streams of requests: for the message of a unary call it would wait without end, and uncounted.
    # Such a message is decoded within the wrapper, so that a malformed one is an error like any other.
    decoded = decode if handler.request_streaming else None
    if handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(stream, decoded, encode)
    return grpc.stream_unary_rpc_method_handler(unary, decoded)


async def _send(answer: AsyncIterator[Any] | Awaitable[None], context: Context) -> None:
    """Sends what an async generator yields, or awaits a handler that uses `context.write` itself."""
    if isinstance(answer, AsyncGenerator):
        # Closed at once when the call ends early, so that its `finally` blocks do not wait for the collector.
        async with aclosing(answer):
            await _send_each(answer, context)
    elif isinstance(answer, AsyncIterator):
        await _send_each(answer, context)
    else:
        await answer


async def _send_each(responses: AsyncIterator[Any], context: Context) -> None:
    idle = IdleTimeout(_STALL_SECONDS)
    try:
        async with idle:
            async for response in responses:
                idle.begin()
                await context.write(response)
                idle.end()
    except TimeoutError:
        if not idle.lost:
            raise
        raise reconnect() from None


def _checked(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    if decode is None:
        return bytes

    def checked(raw: bytes) -> Any:
        try:
            request = decode(raw)
        except (DecodeError, ValueError):
            raise validation_failed([_MALFORMED]) from None
        if isinstance(request, Message):
            validate(request)
        return request

    return checked
