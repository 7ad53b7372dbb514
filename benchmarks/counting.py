"""A gRPC proxy that counts the calls and the bytes of answers of each method."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc

from servicekit.channel import open_channel

_OPTIONS: Final = (("grpc.so_reuseport", 0),)


class CountingProxy(grpc.GenericRpcHandler):
    """Forwards every method to one channel, messages as they are."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.address = ""
        self.calls: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        """Bytes of answers, by the name of the method."""
        self._channel = channel

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Returns a handler for any method: on the wire a single message is a stream of one."""
        path = handler_call_details.method
        metadata = [pair for pair in handler_call_details.invocation_metadata if not pair[0].startswith("grpc-")]
        name = path.rpartition("/")[2]

        async def forward(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            self.calls[name] += 1
            call: Any = self._channel.stream_stream(path)
            answers = call(requests, timeout=context.time_remaining(), metadata=metadata)
            try:
                async for answer in answers:
                    self.answered[name] += len(answer)
                    yield answer
            except grpc.aio.AioRpcError as error:
                context.set_trailing_metadata(error.trailing_metadata() or ())
                context.set_code(error.code())
                context.set_details(error.details() or "")
            finally:
                answers.cancel()

        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(forward)
        return handler


@asynccontextmanager
async def counting_proxy(upstream: str) -> AsyncIterator[CountingProxy]:
    """Runs a proxy on a free loopback port."""
    async with open_channel(upstream, health_checked=False) as channel:
        proxy = CountingProxy(channel)
        server = grpc.aio.server(options=_OPTIONS, handlers=[proxy])
        proxy.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield proxy
        finally:
            await server.stop(None)
