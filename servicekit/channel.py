"""Channels to siblings."""

import json
from collections.abc import Sequence
from typing import Any, Final

import grpc

from servicekit.context import outgoing_metadata

_SERVICE_CONFIG: Final = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})

_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A sibling that was restarted is found again within a second or two, a new replica within five.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
)


def open_channel(
    target: str,
    *,
    credentials: grpc.ChannelCredentials | None = None,
    options: Sequence[tuple[str, Any]] = (),
) -> grpc.aio.Channel:
    """A channel to `target` ("dns:///host:port" spreads calls over all its addresses), to be closed by the caller.

    Nothing is retried here: who calls knows what may be repeated. Each call brings its own `timeout`
    (servicekit.deadline) and `metadata=call_metadata()`. `credentials` bring TLS.
    """
    merged = (*_OPTIONS, *options)
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=merged)
    return grpc.aio.secure_channel(target, credentials, options=merged)


def call_metadata(*extra: tuple[str, str | bytes]) -> tuple[tuple[str, str | bytes], ...]:
    """Metadata for a call to a sibling: request id and owner of the present context, then `extra`."""
    return (*outgoing_metadata(), *extra)
