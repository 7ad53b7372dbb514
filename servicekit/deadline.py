"""Passes deadlines on. gRPC for Python does not do it by itself."""

from typing import Any

import grpc


def remaining(context: grpc.aio.ServicerContext[Any, Any], *, reserve: float = 0.2, default: float) -> float:
    """Returns the timeout in seconds for a call to a peer service on behalf of this call.

    It is what the caller has left, less `reserve` seconds to answer in, and never below 0 (which fails at once with
    DEADLINE_EXCEEDED); `default` where the caller set no deadline.
    """
    left: float | None = context.time_remaining()
    if left is None:
        return default
    return max(0.0, left - reserve)
