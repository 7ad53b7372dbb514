"""Makes unary calls with a deadline and a request id, and decides when a call is repeated."""

import math
import random
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from typing import Final, Self, TypeVar

import grpc
import uuid_utils

from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2
from tale_client.errors import OVERLOADED, TaleError
from tale_client.transport import REQUEST_ID, Metadata, RequestT, ResponseT, Rpc, T, Transport, connected, waits


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter; seconds."""

    initial: float = 0.1
    """Mean of the first wait."""
    maximum: float = 5.0
    """Maximum wait, unless the server sets a longer one."""
    max_retry_after: float = 30.0
    """Maximum wait that a server may set."""

    def delay(
        self, attempt: int, retry_after: float | None = None, uniform: Callable[[], float] = random.random
    ) -> float:
        """Returns the seconds to wait after failed attempt number `attempt` (from 1)."""
        ceiling = min(self.maximum, self.initial * 2.0 ** min(attempt, 30))
        return max(ceiling * uniform(), min(retry_after or 0.0, self.max_retry_after))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How unary calls are repeated on UNAVAILABLE."""

    attempts: int | None = None
    """Maximum number of attempts, with the first one; None: as many as the timeout of the call allows."""
    backoff: Backoff = field(default_factory=lambda: Backoff(maximum=2.0))
    """Waits between them."""


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """How streams are resumed. A stream fails when both limits, `attempts` and `timeout`, are passed."""

    attempts: int = 8
    """Maximum number of connections in a row without progress."""
    timeout: float = 60.0
    """Maximum number of seconds without progress."""
    idle_timeout: float = 30.0
    """Seconds without an event after which a connection counts as lost; the gateway sends a heartbeat every 5 s."""
    stream_deadline: float = 3600.0
    """Seconds after which a connection is replaced."""
    backoff: Backoff = field(default_factory=Backoff)
    """Waits between connections."""


class Reconnects:
    """Counts connections without progress of one stream, and ends the stream past the limits."""

    def __init__(self, policy: ReconnectPolicy, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._attempts = 0
        self._since = 0.0

    @property
    def attempts(self) -> int:
        """Number of connections in a row without progress."""
        return self._attempts

    def progressed(self) -> None:
        """Resets the count."""
        self._attempts = 0

    def lost(self, error: TaleError) -> float:
        """Counts a lost connection; returns the seconds to wait before the next, or raises `error` past the limits."""
        now = self._clock()
        if self._attempts == 0:
            self._since = now
        self._attempts += 1
        if self._attempts > self._policy.attempts and now - self._since >= self._policy.timeout:
            raise error
        return self._policy.backoff.delay(self._attempts, error.retry_after)


PAGE_SIZE: Final = 100
_NOT_STARTED: Final = frozenset({"", OVERLOADED, "RECONNECT", "STARTING"})
"""Reasons that say that no work was started; "" is a lost connection."""


ListRequestT = TypeVar(
    "ListRequestT",
    gateway_pb2.ListStoriesRequest,
    profile_pb2.ListChildrenRequest,
    profile_pb2.ListHeroesRequest,
    story_pb2.ListModelsRequest,
    voice_pb2.ListVoicesRequest,
)
PageT = TypeVar(
    "PageT",
    gateway_pb2.ListStoriesResponse,
    profile_pb2.ListChildrenResponse,
    profile_pb2.ListHeroesResponse,
    story_pb2.ListModelsResponse,
    voice_pb2.ListVoicesResponse,
)


def new_request_id() -> str:
    """Returns a new UUIDv7."""
    return str(uuid_utils.uuid7())


def _trace() -> dict[str, str]:
    """Returns the place in the trace of the caller's program, if that uses OpenTelemetry."""
    carrier: dict[str, str] = {}
    if "opentelemetry.trace" in sys.modules:
        import_module("opentelemetry.propagate").inject(carrier)
    return carrier


def _lower(metadata: Mapping[str, str] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (metadata or {}).items()}


class Calls:
    """What the calls of every area share."""

    def __init__(
        self,
        transport: Transport,
        *,
        timeout: float,
        retry: RetryPolicy | None,
        reconnect: ReconnectPolicy | None,
        metadata: Mapping[str, str] | None,
    ) -> None:
        self._transport = transport
        self.timeout = timeout
        """Seconds for a unary call with all that it does: waiting for the gateway, attempts and pauses."""
        self._retry = retry or RetryPolicy()
        self._reconnect = reconnect or ReconnectPolicy()
        self.metadata = _lower(metadata)
        """Metadata of every call."""

    def with_options(self, *, metadata: Mapping[str, str] | None = None, timeout: float | None = None) -> Self:
        """Returns a client for calls with more `metadata` (such as "traceparent") or another `timeout`.

        It uses the connection of this client, which must stay open.
        """
        other = copy(self)
        other.metadata = self.metadata | _lower(metadata)
        other.timeout = self.timeout if timeout is None else timeout
        return other

    @property
    def waiting(self) -> tuple[float, TaleError] | None:
        """Seconds for which calls have waited, and the failure that they wait out; None while calls succeed."""
        waiting = self._transport.waiting
        return (self._transport.clock() - waiting.since, waiting.error) if waiting else None

    def _correlated(self, request_id: str = "") -> Metadata:
        """Returns the metadata of a call; `x-request-id` identifies it in the logs of every service."""
        return tuple(({REQUEST_ID: request_id or new_request_id()} | _trace() | self.metadata).items())

    @property
    def target(self) -> str:
        """Address of the gateway."""
        return self._transport.target

    async def _unary(self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, repeatable: bool = True) -> ResponseT:
        """Makes a call; repeats it on UNAVAILABLE if it is `repeatable`, on OVERLOADED in any case. TaleError."""
        metadata = self._correlated(getattr(request, "request_id", ""))

        async def call(left: float) -> ResponseT:
            return await self._transport.call(rpc, request, timeout=left, metadata=metadata)

        return await self._repeated(
            call, lambda error: repeatable and error.code is grpc.StatusCode.UNAVAILABLE, timeout=self.timeout
        )

    async def _pages(self, rpc: Rpc[ListRequestT, PageT], request: ListRequestT) -> AsyncGenerator[PageT, None]:
        """Yields every page of the list that `request` describes."""
        while True:
            page = await self._unary(rpc, request)
            yield page
            if not page.next_page_token:
                return
            request = deepcopy(request)
            request.page_token = page.next_page_token

    async def _upload(
        self, rpc: Rpc[RequestT, ResponseT], requests: Sequence[RequestT], *, timeout: float
    ) -> ResponseT:
        """Makes a call with a stream of requests; repeats it if the cluster was not reached or was going down.

        A failure of a provider is not repeated: the cluster has retried it, and each attempt may be billed.
        """
        metadata = self._correlated()

        async def call(left: float) -> ResponseT:
            return await self._transport.call(rpc, requests, timeout=left, metadata=metadata)

        def not_started(error: TaleError) -> bool:
            return error.connection_lost and error.reason in _NOT_STARTED

        return await self._repeated(call, not_started, timeout=timeout)

    async def _repeated(
        self, call: Callable[[float], Awaitable[T]], again: Callable[[TaleError], bool], *, timeout: float
    ) -> T:
        """Makes `call` with the seconds that are left, until it succeeds or `again` or the policy ends it.

        For an overloaded server, which did not begin the call, only the timeout does.
        """
        transport = self._transport
        end = transport.clock() + timeout
        attempt = 1
        await connected(transport, timeout)
        while True:
            try:
                result = await call(max(0.001, end - transport.clock()))
            except TaleError as failed:
                error = failed
                error.attempts = attempt
            else:
                transport.waiting = None
                return result
            delay = self._retry.backoff.delay(attempt, error.retry_after)
            another = again(error) and attempt < (self._retry.attempts or math.inf)
            if not (another or error.reason == OVERLOADED) or transport.clock() + delay >= end:
                raise error
            attempt += 1
            waits(transport, error)
            await transport.sleep(delay)

    async def _delete(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT | None:
        """Makes a call that deletes something; returns None if a repetition finds that it is already deleted."""
        try:
            return await self._unary(rpc, request)
        except TaleError as error:
            if error.code is not grpc.StatusCode.NOT_FOUND or error.attempts == 1:
                raise
            return None
