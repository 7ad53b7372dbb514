"""What the client's logic needs of the outside: a channel, a clock, and somewhere to touch the disk.

The logic is written once, as coroutines over this port. `tale_client.aio` suspends in it, as asyncio wants;
`tale_client.blocking` waits in place and never suspends, so that a coroutine over it can be run without any loop.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, Final, ParamSpec, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from tale_client.errors import TaleError, own_error
from tale_client.rpcs import RequestT, ResponseT, Rpc

DEFAULT_TARGET: Final = "127.0.0.1:50051"
TARGET_VARIABLE: Final = "GATEWAY_TARGET"

CHANNEL_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 2),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Calls are made again by this client's own policy and nowhere else.
    ("grpc.enable_retries", 0),
)

Metadata = Sequence[tuple[str, str]]

MessageT_co = TypeVar("MessageT_co", bound=Message, covariant=True)
P = ParamSpec("P")
T = TypeVar("T")


class Offload(Protocol):
    """Runs `function`, which touches the disk, where that holds up nobody else."""

    async def __call__(self, function: Callable[..., T], *arguments: Any, shielded: bool = False) -> T:
        """What `function` gives or raises; with `shielded` it runs to its end even if the caller is cancelled."""
        ...


class ResponseStream(Protocol[MessageT_co]):
    """The answers of one streaming call."""

    async def next(self, idle: float) -> MessageT_co | None:
        """The next one, None at the end; TaleError, UNAVAILABLE where nothing came for `idle` seconds."""
        ...

    def cancel(self) -> None:
        """Ends the call; without effect on one that has ended."""
        ...


class Transport(Protocol):
    """A channel to the gateway. All that fails in it raises TaleError."""

    @property
    def target(self) -> str:
        """Where the gateway is looked for."""
        ...

    @property
    def offload(self) -> Offload:
        """For the disk."""
        ...

    def clock(self) -> float:
        """Seconds of a clock that only goes forward."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        ...

    async def ready(self) -> None:
        """Returns once the gateway can be reached; GATEWAY_UNREACHABLE after the connect timeout."""
        ...

    async def unary(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, timeout: float, metadata: Metadata
    ) -> ResponseT:
        """Makes a call with one answer, once; `timeout` in seconds."""
        ...

    async def upload(
        self, rpc: Rpc[RequestT, ResponseT], requests: Sequence[RequestT], *, timeout: float, metadata: Metadata
    ) -> ResponseT:
        """Makes a call with a stream of requests and one answer, once; `timeout` in seconds."""
        ...

    def stream(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, timeout: float, metadata: Metadata
    ) -> ResponseStream[ResponseT]:
        """Begins a call with a stream of answers that may last `timeout` seconds."""
        ...


def resolve_target(target: str | None) -> str:
    """`target`, else GATEWAY_TARGET of the environment, else 127.0.0.1:50051."""
    return target or os.environ.get(TARGET_VARIABLE) or DEFAULT_TARGET


def unreachable(target: str) -> TaleError:
    """Nobody answers there."""
    return own_error("GATEWAY_UNREACHABLE", f"No gateway answers at {target}.", metadata={"target": target})


def silent(idle: float) -> TaleError:
    """A stream without any message for `idle` seconds; it counts as a lost connection."""
    return TaleError(grpc.StatusCode.UNAVAILABLE, "", f"The gateway said nothing for {idle:g} seconds.")
