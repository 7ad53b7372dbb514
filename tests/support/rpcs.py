"""A service without contract: one method of each kind, raw bytes, whose behaviour the test gives."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import grpc

from servicekit.app import App

SERVICE: Final = "test.Raw"
KINDS: Final = ("UnaryUnary", "StreamUnary", "UnaryStream", "StreamStream", "Writer")
"""The four kinds of RPC, the streams of responses by async generator, and one by `context.write`."""

Context = grpc.aio.ServicerContext[bytes, bytes]
Behaviour = Callable[[Context], Awaitable[bytes]]


class RawApp(App):
    """Every method awaits `behaviour` and answers with what it returns."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds the five methods."""
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._handlers()),))
        return (SERVICE,)

    def _handlers(self) -> dict[str, Any]:
        return {
            "UnaryUnary": grpc.unary_unary_rpc_method_handler(self._unary),
            "StreamUnary": grpc.stream_unary_rpc_method_handler(self._unary),
            "UnaryStream": grpc.unary_stream_rpc_method_handler(self._stream),
            "StreamStream": grpc.stream_stream_rpc_method_handler(self._stream),
            "Writer": grpc.unary_stream_rpc_method_handler(self._write),
        }

    async def _unary(self, _request: object, context: Context) -> bytes:
        return await self._behaviour(context)

    async def _stream(self, _request: object, context: Context) -> AsyncIterator[bytes]:
        yield await self._behaviour(context)

    async def _write(self, _request: object, context: Context) -> None:
        await context.write(await self._behaviour(context))


def call(
    channel: grpc.aio.Channel,
    kind: str,
    *,
    metadata: Sequence[tuple[str, str]] = (),
    timeout: float = 10.0,
    wait_for_ready: bool = False,
) -> Any:
    """Begins a call of the method named `kind`; gives the call object."""
    method = f"/{SERVICE}/{kind}"
    multicallable: Any
    request: Any = b"request"
    match kind:
        case "StreamUnary":
            multicallable, request = channel.stream_unary(method), iter([request])
        case "UnaryStream" | "Writer":
            multicallable = channel.unary_stream(method)
        case "StreamStream":
            multicallable, request = channel.stream_stream(method), iter([request])
        case _:
            multicallable = channel.unary_unary(method)
    return multicallable(request, metadata=tuple(metadata), timeout=timeout, wait_for_ready=wait_for_ready)


async def answer(channel: grpc.aio.Channel, kind: str, **options: Any) -> bytes:
    """The answer, or the answers joined, of the method named `kind`."""
    begun = call(channel, kind, **options)
    if kind.endswith("Unary"):
        return bytes(await begun)
    return b"".join([part async for part in begun])


async def failure(channel: grpc.aio.Channel, kind: str, **options: Any) -> grpc.aio.AioRpcError:
    """The error of a call that must fail."""
    try:
        given = await answer(channel, kind, **options)
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"{kind} answered {given!r}")
