"""The asyncio client."""

from types import TracebackType
from typing import Self

import grpc

from tale_client.aio import AioTransport
from tale_client.catalogue import CatalogueCalls
from tale_client.profiles import ProfileCalls
from tale_client.recordings import RecordingCalls
from tale_client.retry import ReconnectPolicy, RetryPolicy
from tale_client.stories import StoryCalls
from tale_client.transport import resolve_target


class TaleCalls(StoryCalls, ProfileCalls, CatalogueCalls, RecordingCalls):
    """All that can be asked of a gateway, over any transport."""


class AsyncTaleClient(TaleCalls):
    """The gateway, for one event loop. Use inside of `async with`; safe for any number of tasks at once.

    `target`: a gRPC target ("host:port", "dns:///host:port", "unix:/path"); None: the environment's GATEWAY_TARGET or
    127.0.0.1:50051. `credentials` None: plain text. `connect_timeout`: seconds that a gateway which can not be reached
    is waited for. `timeout`: seconds for a unary call with all its repetitions. Every method raises TaleError and no
    other error of the network.

    Calls that make something take a `request_id`; without one a UUIDv7 is made, so that a repetition after a lost
    connection never makes a second story.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        connect_timeout: float = 10.0,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        reconnect: ReconnectPolicy | None = None,
    ) -> None:
        self._aio = AioTransport(resolve_target(target), credentials=credentials, connect_timeout=connect_timeout)
        super().__init__(
            self._aio, timeout=timeout, retry=retry or RetryPolicy(), reconnect=reconnect or ReconnectPolicy()
        )

    async def __aenter__(self) -> Self:
        self._aio.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._aio.close()
