"""Transport of the sync client: a gRPC channel whose calls block."""

import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from typing import Any, Final, Generic, cast

import grpc
from google.protobuf.message import Message

from tale_client.errors import RpcFailure, TaleError, error_from_rpc
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

_PROBE_SECONDS: Final = 0.1


class BlockingTransport:
    """A channel of grpc; see Transport. Its coroutines block and never suspend: `finish` runs them.

    A `channel` of the caller is used instead of `target`; it is neither waited for nor closed.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None,
        connect_timeout: float,
        channel: grpc.Channel | None = None,
        token: str | None = None,
    ) -> None:
        self.target = target
        self._authorization = authorization(token)
        self.offload: Offload = in_place
        self.waiting: Waiting | None = None
        self._connect_timeout = connect_timeout
        self._own = channel is None
        # A probe costs a round trip, so it is made only before the first call and after a lost connection.
        self._connected = not self._own
        if channel is not None:
            self._channel = channel
        elif credentials is None:
            self._channel = grpc.insecure_channel(target, options=CHANNEL_OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, credentials, options=CHANNEL_OPTIONS)

    def close(self) -> None:
        """Closes the channel and ends its calls, unless it is the caller's."""
        if self._own:
            self._channel.close()

    def clock(self) -> float:
        """See Transport."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See Transport."""
        time.sleep(seconds)  # noqa: ASYNC251 - no event loop runs here

    async def ready(self, timeout: float) -> None:
        """See Transport."""
        if self._connected:
            return
        # Not grpc.channel_ready_future: its thread fails when the channel is closed meanwhile.
        probe: Callable[..., bytes] = self._channel.unary_unary(HEALTH)
        end, details = self.clock() + min(timeout, self._connect_timeout), ""
        while (left := end - self.clock()) > 0:
            try:
                probe(b"", timeout=left)
            except grpc.RpcError as error:
                failure = self.failed(error)
                check_tls(self.target, failure)
                details = failure.message
                if failure.code is grpc.StatusCode.UNAVAILABLE:
                    await self.sleep(min(left, _PROBE_SECONDS))
                    continue
                if failure.code is grpc.StatusCode.DEADLINE_EXCEEDED:
                    break
                # Any other status shows that the gateway answers.
            self._connected = True
            return
        raise unreachable(self.target, details)

    async def call(
        self,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT | Sequence[RequestT],
        *,
        timeout: float,
        metadata: Metadata,
    ) -> ResponseT:
        """See Transport."""
        channel = self._channel
        kind = channel.unary_unary if isinstance(request, Message) else channel.stream_unary
        method: Callable[..., ResponseT] = kind(rpc.path, **rpc.codec)
        try:
            return method(
                request if isinstance(request, Message) else iter(request),
                timeout=timeout,
                metadata=(*metadata, *self._authorization),
            )
        except grpc.RpcError as error:
            raise self.failed(error, metadata) from None

    def stream(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, timeout: float, metadata: Metadata
    ) -> "BlockingStream[ResponseT]":
        """See Transport."""
        method: Callable[..., Any] = self._channel.unary_stream(rpc.path, **rpc.codec)
        call = method(request, timeout=timeout, metadata=(*metadata, *self._authorization))
        return BlockingStream(call, self.failed, metadata)

    def failed(self, error: grpc.RpcError, metadata: Metadata = ()) -> TaleError:
        """Returns the TaleError of `error`; after a lost connection the next call waits for the gateway again."""
        # What a call raises is a grpc.Call as well.
        failure = error_from_rpc(cast("RpcFailure", error), request_id_of(metadata))
        if failure.code is grpc.StatusCode.UNAVAILABLE:
            self._connected = not self._own
        return failure


class BlockingStream(Generic[ResponseT]):
    """See ResponseStream."""

    def __init__(self, call: Any, failed: Callable[[grpc.RpcError, Metadata], TaleError], metadata: Metadata) -> None:
        self._call = call
        self._metadata = metadata
        self._failed = failed
        self._watch: IdleWatch | None = None

    async def next(self, idle: float) -> ResponseT | None:
        """See ResponseStream."""
        if self._watch is None:
            self._watch = IdleWatch(idle, self._call.cancel)
        try:
            with self._watch:
                message: ResponseT | None = next(self._call, None)
        except grpc.RpcError as error:
            if self._watch.expired:
                raise silent(idle, self._metadata) from None
            raise self._failed(error, self._metadata) from None
        return message

    def cancel(self) -> None:
        """See ResponseStream."""
        if self._watch is not None:
            self._watch.close()
        self._call.cancel()


class IdleWatch:
    """Calls `expire` once if a `with` block lasts longer than `seconds`. One thread serves any number of blocks."""

    def __init__(self, seconds: float, expire: Callable[[], object]) -> None:
        self.expired = False
        """Whether `expire` was called."""
        self._seconds = seconds
        self._expire = expire
        self._since: float | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="tale-idle-watch", daemon=True).start()

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._since = None

    def close(self) -> None:
        """Stops the thread."""
        self._closed.set()

    def _run(self) -> None:
        left = self._seconds
        while not self._closed.wait(left):
            since = self._since
            left = self._seconds if since is None else since + self._seconds - time.monotonic()
            if left <= 0:
                self.expired = True
                self._expire()
                return


async def in_place(function: Callable[..., T], *arguments: Any, shielded: bool = False) -> T:
    """See Offload."""
    del shielded
    return function(*arguments)


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that never suspends, and returns its result."""
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    work.close()
    raise RuntimeError("a coroutine over a blocking transport must not suspend")


def iterate(items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """Yields the items of an asynchronous generator that never suspends, and closes it at the end."""
    try:
        while True:
            try:
                item = finish(_next(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        finish(_close(items))


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items)


async def _close(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()
