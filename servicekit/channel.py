"""Opens channels to peer services, and passes deadline, request id and owner on in calls to them."""

import json
from collections.abc import Sequence
from typing import Any, Final

import grpc

from servicekit.context import OWNER_KEY, REQUEST_ID_KEY, current

_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.service_config_disable_resolution", 1),
    # http_proxy is for the way out: a proxy does not reach the services of this cluster.
    ("grpc.enable_http_proxy", 0),
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
    be repeated. Each call brings its own `timeout` (`remaining`) and `metadata=call_metadata()`.
    """
    merged = (*_OPTIONS, ("grpc.service_config", _service_config(health_checked=health_checked)), *options)
    return grpc.aio.insecure_channel(target, options=merged)


def _service_config(*, health_checked: bool) -> str:
    # No timeouts in it: gRPC would let them fire more than a second early.
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if health_checked:
        config["healthCheckConfig"] = {"serviceName": ""}
    return json.dumps(config)


def call_metadata(*extra: tuple[str, str | bytes]) -> tuple[tuple[str, str | bytes], ...]:
    """Returns metadata for a call to a peer service: request id and owner of the context, then `extra`."""
    context = current()
    return ((REQUEST_ID_KEY, context.request_id), (OWNER_KEY, context.owner), *extra)


def remaining(context: grpc.aio.ServicerContext[Any, Any], *, reserve: float = 0.2, default: float) -> float:
    """Returns the timeout in seconds for a call to a peer service on behalf of this call: gRPC does not pass it on.

    It is what the caller has left, less `reserve` seconds to answer in, and never below 0 (which fails at once with
    DEADLINE_EXCEEDED); `default` where the caller set no deadline.
    """
    left: float | None = context.time_remaining()
    if left is None:
        return default
    return max(0.0, left - reserve)
