"""The channel to the gateway: waits for one that is starting, makes calls again, and says who can not be reached."""

import asyncio
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import grpc
import uuid_utils
from google.protobuf.message import Message

from tale.gateway.v1 import gateway_pb2_grpc
from tale_client.errors import TaleError, error_from_rpc
from tale_client.retry import RetryPolicy

DEFAULT_TARGET: Final = "127.0.0.1:50051"
TARGET_VARIABLE: Final = "GATEWAY_TARGET"

_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 2),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Calls are made again here and nowhere else.
    ("grpc.enable_retries", 0),
)

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

Metadata = Sequence[tuple[str, str]]


class UnaryMethod(Protocol[RequestT, ResponseT]):
    """A unary RPC of a stub."""

    def __call__(
        self, request: RequestT, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> grpc.aio.UnaryUnaryCall[RequestT, ResponseT]: ...


def new_request_id() -> str:
    """A fresh UUIDv7."""
    return str(uuid_utils.uuid7())


def correlation(request_id: str = "") -> Metadata:
    """Metadata under which the logs of every service know a call."""
    return (("x-request-id", request_id or new_request_id()),)


class Connection:
    """A channel and the stub on it.

    `target` is a gRPC target ("host:port", "dns:///host:port", "unix:/path"); empty: GATEWAY_TARGET of the environment
    or 127.0.0.1:50051. `credentials` None: plain text. `connect_timeout` is how long, in seconds, a gateway that
    does not answer is waited for.
    """

    def __init__(
        self,
        target: str | None,
        *,
        credentials: grpc.ChannelCredentials | None,
        connect_timeout: float,
        retry: RetryPolicy,
    ) -> None:
        self.target = target or os.environ.get(TARGET_VARIABLE) or DEFAULT_TARGET
        self.connect_timeout = connect_timeout
        self._credentials = credentials
        self._retry = retry
        self._channel: grpc.aio.Channel | None = None
        self._stub: gateway_pb2_grpc.GatewayServiceAsyncStub | None = None

    async def __aenter__(self) -> Self:
        if self._credentials is None:
            self._channel = grpc.aio.insecure_channel(self.target, options=_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(self.target, self._credentials, options=_OPTIONS)
        self._stub = gateway_pb2_grpc.GatewayServiceStub(self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        channel, self._channel, self._stub = self._channel, None, None
        if channel is not None:
            await channel.close()

    @property
    def stub(self) -> "gateway_pb2_grpc.GatewayServiceAsyncStub":
        """The gateway's stub; RuntimeError outside of `async with`."""
        if self._stub is None:
            raise RuntimeError("use the client inside of `async with`")
        return self._stub

    async def ready(self) -> None:
        """Returns once the gateway can be reached; TaleError GATEWAY_UNREACHABLE after `connect_timeout`."""
        if self._channel is None:
            raise RuntimeError("use the client inside of `async with`")
        try:
            async with asyncio.timeout(self.connect_timeout):
                await self._channel.channel_ready()
        except TimeoutError:
            raise TaleError(
                grpc.StatusCode.UNAVAILABLE,
                "GATEWAY_UNREACHABLE",
                f"No gateway at {self.target}.",
                metadata={"target": self.target},
            ) from None

    async def unary(
        self, method: UnaryMethod[RequestT, ResponseT], request: RequestT, *, timeout: float, repeatable: bool = True
    ) -> ResponseT:
        """Makes a unary call, again on UNAVAILABLE if it is `repeatable`, all within `timeout` seconds; TaleError."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        metadata = correlation(getattr(request, "request_id", ""))
        attempt = 1
        await self.ready()
        while True:
            try:
                return await method(request, timeout=max(0.001, end - loop.time()), metadata=metadata)
            except grpc.aio.AioRpcError as caught:
                error = error_from_rpc(caught)
                error.attempts = attempt
            delay = self._retry.backoff.delay(attempt, error.retry_after)
            repeatable = repeatable and error.code is grpc.StatusCode.UNAVAILABLE
            if not repeatable or attempt >= self._retry.attempts or loop.time() + delay >= end:
                raise error
            attempt += 1
            await asyncio.sleep(delay)


async def next_of(call: grpc.aio.UnaryStreamCall[Any, Any], idle: float) -> Any | None:
    """The next message of a stream, None at its end; TaleError, and one that counts as lost after `idle` seconds."""
    try:
        async with asyncio.timeout(idle):
            message = await call.read()
    except TimeoutError:
        raise TaleError(grpc.StatusCode.UNAVAILABLE, "", f"The gateway said nothing for {idle:g} seconds.") from None
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from None
    return None if message is grpc.aio.EOF else message
