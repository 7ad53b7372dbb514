"""Makes unary calls: under a deadline and a request id, and again where that may help."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, Protocol, TypeVar

import grpc
import uuid_utils

from tale_client.errors import TaleError
from tale_client.retry import ReconnectPolicy, RetryPolicy
from tale_client.rpcs import RequestT, ResponseT, Rpc
from tale_client.transport import Metadata, Transport

PAGE_SIZE: Final = 100


class Page(Protocol):
    """A page of a list."""

    @property
    def next_page_token(self) -> str:
        """Asks for the next one; empty on the last."""
        ...


PageT = TypeVar("PageT", bound=Page)


def new_request_id() -> str:
    """A fresh UUIDv7."""
    return str(uuid_utils.uuid7())


def correlation(request_id: str = "") -> Metadata:
    """Metadata under which the logs of every service know a call."""
    return (("x-request-id", request_id or new_request_id()),)


class Calls:
    """What the calls of every area share. `timeout`: seconds for a unary call with all its repetitions."""

    def __init__(self, transport: Transport, *, timeout: float, retry: RetryPolicy, reconnect: ReconnectPolicy) -> None:
        self._transport = transport
        self._timeout = timeout
        self._retry = retry
        self._reconnect = reconnect

    @property
    def target(self) -> str:
        """Where the gateway is looked for."""
        return self._transport.target

    async def _unary(self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, repeatable: bool = True) -> ResponseT:
        """Makes a call, again on UNAVAILABLE if it is `repeatable`, all within the timeout; TaleError."""
        transport = self._transport
        end = transport.clock() + self._timeout
        metadata = correlation(getattr(request, "request_id", ""))
        attempt = 1
        await transport.ready()
        while True:
            left = max(0.001, end - transport.clock())
            try:
                return await transport.unary(rpc, request, timeout=left, metadata=metadata)
            except TaleError as failed:
                error = failed
                error.attempts = attempt
            delay = self._retry.backoff.delay(attempt, error.retry_after)
            repeatable = repeatable and error.code is grpc.StatusCode.UNAVAILABLE
            if not repeatable or attempt >= self._retry.attempts or transport.clock() + delay >= end:
                raise error
            attempt += 1
            await transport.sleep(delay)

    async def _delete(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT | None:
        """Makes a call that removes something; None where a repetition found that the first call had done it."""
        try:
            return await self._unary(rpc, request)
        except TaleError as error:
            if error.code is not grpc.StatusCode.NOT_FOUND or error.attempts == 1:
                raise
            return None


async def pages(fetch: Callable[[str], Awaitable[PageT]]) -> AsyncGenerator[PageT, None]:
    """Every page of a list; `fetch` takes a page token."""
    token = ""
    while True:
        page = await fetch(token)
        yield page
        if not (token := page.next_page_token):
            return
