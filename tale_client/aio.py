"""Transport of the asyncio client, on grpc.aio."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic

import grpc
from google.protobuf.message import Message

from tale_client.errors import TaleError, error_from_rpc
from tale_client.transport import (
    CHANNEL_OPTIONS,
    HEALTH,
    Metadata,
    Offload,
    RequestT,
    ResponseT,
    Rpc,
    T,
    Waiting,
    authorization,
    check_tls,
    request_id_of,
    silent,
    unreachable,
)

_PROBE_SECONDS: Final = 0.5


class AioTransport:
    """A channel of grpc.aio; see Transport. It is opened and closed on the event loop that uses it."""

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None,
        connect_timeout: float,
        token: str | None = None,
    ) -> None:
        self.target = target
        self._authorization = authorization(token)
        self.offload: Offload = in_thread
        self.waiting: Waiting | None = None
        self._credentials = credentials
        self._connect_timeout = connect_timeout
        self._channel: grpc.aio.Channel | None = None

    def open(self) -> None:
        """Opens the channel."""
        if self._credentials is None:
            self._channel = grpc.aio.insecure_channel(self.target, options=CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(self.target, self._credentials, options=CHANNEL_OPTIONS)

    async def close(self) -> None:
        """Closes the channel and ends its calls."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    def clock(self) -> float:
        """See Transport."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """See Transport."""
        await asyncio.sleep(seconds)

    async def ready(self, timeout: float) -> None:
        """See Transport."""
        end, details = self.clock() + min(timeout, self._connect_timeout), ""
        while (left := end - self.clock()) > 0:
            try:
                async with asyncio.timeout(min(left, _PROBE_SECONDS)):
                    await self._opened().channel_ready()
            except TimeoutError:
                details = await self._refusal()
            else:
                return
        raise unreachable(self.target, details)

    async def _refusal(self) -> str:
        """Returns why there is no connection; TLS_FAILED if there never will be one."""
        probe: Callable[..., Awaitable[bytes]] = self._opened().unary_unary(HEALTH)
        try:
            await probe(b"", timeout=_PROBE_SECONDS)
        except grpc.aio.AioRpcError as error:
            failed = error_from_rpc(error)
            check_tls(self.target, failed)
            return failed.message
        return ""

    async def call(
        self,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT | Sequence[RequestT],
        *,
        timeout: float,
        metadata: Metadata,
    ) -> ResponseT:
        """See Transport."""
        channel = self._opened()
        kind = channel.unary_unary if isinstance(request, Message) else channel.stream_unary
        method: Callable[..., Awaitable[ResponseT]] = kind(rpc.path, **rpc.codec)
        try:
            return await method(
                request if isinstance(request, Message) else iter(request),
                timeout=timeout,
                metadata=(*metadata, *self._authorization),
            )
        except grpc.aio.AioRpcError as error:
            raise failed(error, metadata) from None

    def stream(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, timeout: float, metadata: Metadata
    ) -> "AioStream[ResponseT]":
        """See Transport."""
        method = self._opened().unary_stream(rpc.path, **rpc.codec)
        return AioStream(method(request, timeout=timeout, metadata=(*metadata, *self._authorization)), metadata)

    def _opened(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise RuntimeError("The client is not open. Use it inside `async with`.")
        return self._channel


class AioStream(Generic[ResponseT]):
    """See ResponseStream."""

    def __init__(self, call: grpc.aio.UnaryStreamCall[Any, Any], metadata: Metadata) -> None:
        self._call = call
        self._metadata = metadata

    async def next(self, idle: float) -> ResponseT | None:
        """See ResponseStream."""
        try:
            async with asyncio.timeout(idle):
                message: Any = await self._call.read()
        except TimeoutError:
            raise silent(idle, self._metadata) from None
        except grpc.aio.AioRpcError as error:
            raise failed(error, self._metadata) from None
        return None if message is grpc.aio.EOF else message

    def cancel(self) -> None:
        """See ResponseStream."""
        self._call.cancel()


def failed(error: grpc.aio.AioRpcError, metadata: Metadata) -> TaleError:
    """Returns the TaleError of `error`, with the request id of `metadata`."""
    return error_from_rpc(error, request_id_of(metadata))


async def in_thread(function: Callable[..., T], *arguments: Any, shielded: bool = False) -> T:
    """See Offload."""
    work = asyncio.to_thread(function, *arguments)
    return await (asyncio.shield(work) if shielded else work)
