"""The port through which the client makes calls, reads the clock and uses the disk.

The client's logic is written once, as coroutines over this port. `tale_client.aio` implements it for asyncio.
`tale_client.blocking` waits in place and never suspends, so that its coroutines run without an event loop.
"""

import math
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Generic, ParamSpec, Protocol, Self, TypeVar

import grpc
from google.protobuf.message import Message

from tale_client.errors import TaleError, Violation, own_error

DEFAULT_TARGET: Final = "127.0.0.1:50051"
TARGET_VARIABLE: Final = "GATEWAY_TARGET"
TOKEN_VARIABLE: Final = "TALE_TOKEN"  # noqa: S105 - the name of a variable

CHANNEL_OPTIONS: Final = (
    # The gateway is on the caller's own network; the proxy of the environment (http_proxy) seldom reaches it.
    ("grpc.enable_http_proxy", 0),
    # A new client does not wait because an older one in the same process could not connect.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 2),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # RetryPolicy alone repeats calls.
    ("grpc.enable_retries", 0),
)

_WITHOUT_PORT: Final = ("unix:", "unix-abstract:", "xds:", "vsock:")
_TLS_FAILURES: Final = {
    "CERTIFICATE_VERIFY_FAILED": "The certificate of the gateway at {} is not signed by a trusted authority.",
    "Hostname Verification Check failed": "The certificate of the gateway at {} is for another name.",
    "WRONG_VERSION_NUMBER": "The gateway at {} has no TLS.",
}
HEALTH: Final = "/grpc.health.v1.Health/Check"
REQUEST_ID: Final = "x-request-id"

Metadata = Sequence[tuple[str, str]]

MessageT_co = TypeVar("MessageT_co", bound=Message, covariant=True)
P = ParamSpec("P")
T = TypeVar("T")
RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What calls wait for: they failed with `error` and are made again."""

    error: TaleError
    since: float
    """Reading of the transport's clock at the first failure in a row."""


@dataclass(frozen=True, slots=True)
class Rpc(Generic[RequestT, ResponseT]):
    """One RPC; it returns one `response` or a stream of them."""

    request: type[RequestT]
    response: type[ResponseT]

    @property
    def path(self) -> str:
        """Path of the RPC. The request is named after it."""
        name, file = self.request.DESCRIPTOR.name.removesuffix("Request"), self.request.DESCRIPTOR.file
        return next(
            f"/{each.full_name}/{name}" for each in file.services_by_name.values() if name in each.methods_by_name
        )

    @property
    def codec(self) -> dict[str, Any]:
        """The functions with which a channel writes and reads its messages."""
        return {"request_serializer": self.request.SerializeToString, "response_deserializer": self.response.FromString}


class Offload(Protocol):
    """Runs a function that uses the disk, without holding up the event loop."""

    async def __call__(self, function: Callable[..., T], *arguments: Any, shielded: bool = False) -> T:
        """Returns the result of `function`; if `shielded`, it runs to its end even when the caller is cancelled."""
        ...


class ResponseStream(Protocol[MessageT_co]):
    """The responses of one streaming call."""

    async def next(self, idle: float) -> MessageT_co | None:
        """Returns the next response, None at the end; TaleError UNAVAILABLE if none arrives for `idle` seconds."""
        ...

    def cancel(self) -> None:
        """Ends the call; does nothing if it has ended."""
        ...


class Transport(Protocol):
    """A channel to the gateway. Failed calls raise TaleError."""

    target: str
    """Address of the gateway."""
    offload: Offload
    """Runs functions that use the disk."""
    waiting: Waiting | None
    """What the calls wait for; None while they succeed."""

    def clock(self) -> float:
        """Returns the seconds of a monotonic clock."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits for `seconds`."""
        ...

    async def ready(self, timeout: float) -> None:
        """Waits for a connection, up to `timeout` and the connect timeout; GATEWAY_UNREACHABLE, TLS_FAILED."""
        ...

    async def call(
        self,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT | Sequence[RequestT],
        *,
        timeout: float,
        metadata: Metadata,
    ) -> ResponseT:
        """Makes a call with one response once, with one request or a stream of them; `timeout` in seconds."""
        ...

    def stream(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, timeout: float, metadata: Metadata
    ) -> ResponseStream[ResponseT]:
        """Starts a call with a stream of responses, which may last `timeout` seconds."""
        ...


def waits(transport: Transport, error: TaleError) -> None:
    """Records that calls wait, and for what."""
    transport.waiting = Waiting(error, transport.waiting.since if transport.waiting else transport.clock())


async def connected(transport: Transport, timeout: float = math.inf) -> None:
    """Waits for a connection; see Transport.ready."""
    waits(transport, unreachable(transport.target))
    await transport.ready(timeout)
    transport.waiting = None


def resolve_target(target: str | None) -> str:
    """Returns `target`, else GATEWAY_TARGET, else 127.0.0.1:50051; VALIDATION_FAILED without a port."""
    found = target or os.environ.get(TARGET_VARIABLE) or DEFAULT_TARGET
    # gRPC would use port 443.
    if not found.startswith(_WITHOUT_PORT) and not re.search(r":\d{1,5}$", found):
        message = f"{found!r} has no port. Write host:port, such as {found.rstrip(':/')}:50051"
        name = "target" if target else TARGET_VARIABLE
        raise own_error("VALIDATION_FAILED", f"{name} {message}.", violations=[Violation(name, message)])
    return found


def authorization(token: str | None) -> Metadata:
    """Returns the metadata that carry `token`, else TALE_TOKEN of the environment; nothing without either."""
    token = os.environ.get(TOKEN_VARIABLE, "") if token is None else token
    return (("authorization", f"Bearer {token.strip()}"),) if token.strip() else ()


def unreachable(target: str, details: str = "") -> TaleError:
    """Returns the error for a gateway that does not answer; `details`: what gRPC says of a connection."""
    # A plain connection to a port with TLS.
    closed = " The port closes connections; it may have TLS." if details.endswith("Socket closed") else ""
    return own_error("GATEWAY_UNREACHABLE", f"No gateway answers at {target}.{closed}", metadata={"target": target})


def check_tls(target: str, error: TaleError) -> None:
    """Raises TLS_FAILED if `error` shows that no later connection can succeed, for its certificate."""
    for sign, message in _TLS_FAILURES.items():
        if sign in error.message:
            raise own_error("TLS_FAILED", message.format(target))


def request_id_of(metadata: Metadata) -> str:
    """Returns the id by which the services log a call with this metadata; empty if it has none."""
    return dict(metadata).get(REQUEST_ID, "")


def silent(idle: float, metadata: Metadata) -> TaleError:
    """Returns the error for a stream without a message for `idle` seconds, which counts as a lost connection."""
    error = TaleError(grpc.StatusCode.UNAVAILABLE, "", f"The gateway sent nothing for {idle:g} seconds.")
    error.request_id = request_id_of(metadata)
    return error


class PartialFile:
    """A file that is written beside its final path and renamed when it is complete.

    The disk is used through `offload`. OSError is not caught.
    """

    def __init__(self, folder: Path, suffix: str, offload: Offload) -> None:
        self._offload = offload
        self._folder = folder
        self._suffix = suffix
        self._file: IO[bytes] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._file is not None:
            await self._offload(self._discard, self._file, shielded=True)
            self._file = None

    async def write(self, data: bytes) -> None:
        """Appends `data`."""
        await self._offload((await self._opened()).write, data)

    async def clear(self) -> None:
        """Drops what was written and starts at byte 0."""
        if self._file is not None:
            await self._offload(self._file.seek, 0)
            await self._offload(self._file.truncate)

    async def commit(self, place: Path) -> None:
        """Writes the file durably to `place` and replaces what was there."""
        await self._offload(self._commit, await self._opened(), place)
        self._file = None

    async def _opened(self) -> IO[bytes]:
        # Only now, so that no folder is created when nothing is written.
        if self._file is None:
            self._file = await self._offload(self._open)
        return self._file

    def _open(self) -> IO[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed by _commit or _discard
            dir=self._folder, prefix=".", suffix=f"{self._suffix}.part", delete=False
        )
        # tempfile makes it private; the story gets the usual permissions of the user's files.
        mask = os.umask(0o077)
        os.umask(mask)
        Path(file.name).chmod(0o666 & ~mask)
        return file

    @staticmethod
    def _commit(file: IO[bytes], place: Path) -> None:
        with file:
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(place)

    @staticmethod
    def _discard(file: IO[bytes]) -> None:
        with file:
            Path(file.name).unlink(missing_ok=True)
