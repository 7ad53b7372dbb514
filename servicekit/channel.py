"""Opens channels to peer services, and passes deadline, request id and owner on in calls to them."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import grpc

from servicekit.authentication import ServiceToken
from servicekit.context import OWNER_KEY, PEER_KEY, REQUEST_ID_KEY, STORY_KEY, current
from servicekit.tracing import Span, rpc_of
from servicekit.waiting import Finisher

WINDOWS: Final[tuple[tuple[str, Any], ...]] = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 256 << 10))
"""What a stream may receive before it is read.

gRPC would let the window of each stream grow to many megabytes, whether its messages are read or not: 120 uploads of
24 MB that waited took 1.6 GB.
"""

_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.service_config_disable_resolution", 1),
    # http_proxy is for the way out: a proxy does not reach the services of this cluster.
    ("grpc.enable_http_proxy", 0),
    *WINDOWS,
    # Channels of a process to one address would share its connection, and so the pause after a failure of another's.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A restarted peer service is found again within two seconds, a new replica within five.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
)


def open_channel(
    target: str,
    *,
    health_checked: bool = True,
    options: Sequence[tuple[str, Any]] = (),
) -> grpc.aio.Channel:
    """Opens a channel to `target` ("dns:///host:port" spreads calls over all its addresses); the caller closes it.

    With `health_checked` it watches the health of each address and sends no call to one that is starting or draining,
    so that replicas come and go unnoticed; where none is left calls fail with UNAVAILABLE, or wait with
    `wait_for_ready`. Give False to read the health of such a server. Nothing is retried here: the caller knows what may
    be repeated. Each call brings its own `timeout` (`remaining`); a PeerChannel adds the metadata.
    """
    merged = (*_OPTIONS, ("grpc.service_config", _service_config(health_checked=health_checked)), *options)
    return grpc.aio.insecure_channel(target, options=merged)


def _service_config(*, health_checked: bool) -> str:
    # No timeouts in it: gRPC would let them fire more than a second early.
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if health_checked:
        config["healthCheckConfig"] = {"serviceName": ""}
    return json.dumps(config)


class PeerChannel(grpc.aio.Channel):
    """A channel whose calls carry what the context has, request id, owner, story and trace, and the cluster's token.

    Calls raise LookupError where no request context is bound.
    """

    def __init__(self, channel: grpc.aio.Channel, token: ServiceToken | None = None) -> None:
        """Takes a channel, and the token that its calls carry."""
        self._channel = channel
        self._token = token
        self._ends = Finisher()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Closes the channel."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Returns the state of the connection."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Returns when the state is another one."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Returns when calls can be made."""
        await self._channel.channel_ready()

    def unary_unary(self, *args: Any, **options: Any) -> Any:
        """Returns the callable of an RPC, as gRPC's channel does."""
        return self._carrying(self._channel.unary_unary(*args, **options), *args)

    def unary_stream(self, *args: Any, **options: Any) -> Any:
        """Returns the callable of an RPC, as gRPC's channel does."""
        return self._carrying(self._channel.unary_stream(*args, **options), *args)

    def stream_unary(self, *args: Any, **options: Any) -> Any:
        """Returns the callable of an RPC, as gRPC's channel does."""
        return self._carrying(self._channel.stream_unary(*args, **options), *args)

    def stream_stream(self, *args: Any, **options: Any) -> Any:
        """Returns the callable of an RPC, as gRPC's channel does."""
        return self._carrying(self._channel.stream_stream(*args, **options), *args)

    def _carrying(self, call: Any, method: str | bytes, *_: object) -> Callable[..., Any]:
        name, facts = rpc_of(method.decode() if isinstance(method, bytes) else method)

        def begin(*args: Any, metadata: Sequence[tuple[str, str | bytes]] = (), **options: Any) -> Any:
            context = current()
            carried = [*metadata, (REQUEST_ID_KEY, context.request_id), (OWNER_KEY, context.owner)]
            if story_id := context.named.get("story_id"):
                carried.append((STORY_KEY, story_id))
            if self._token is not None:
                carried.append((PEER_KEY, str(self._token)))
            if context.span is None:
                if context.trace is not None:
                    carried.extend(context.trace.metadata)
                return call(*args, metadata=tuple(carried), **options)
            span = context.span.child(name, "client", facts)
            made = call(*args, metadata=(*carried, *span.trace.metadata), **options)
            made.add_done_callback(lambda ended: self._ends.start(_end(ended, span)))
            return made

        return begin


async def _end(call: grpc.aio.Call, span: Span) -> None:
    """Ends the span of a call that has ended."""
    code = await call.code()
    span.note({"rpc.grpc.status_code": code.value[0]})
    span.end(error="" if code is grpc.StatusCode.OK else code.name)


def remaining(context: grpc.aio.ServicerContext[Any, Any], *, reserve: float = 0.2, default: float) -> float:
    """Returns the timeout in seconds for a call to a peer service on behalf of this call: gRPC does not pass it on.

    It is what the caller has left, less `reserve` seconds to answer in, and never below 0 (which fails at once with
    DEADLINE_EXCEEDED); `default` where the caller set no deadline.
    """
    left: float | None = context.time_remaining()
    if left is None:
        return default
    return max(0.0, left - reserve)
