"""Connections to ElevenLabs in several pools.

What httpcore does for each request grows with the connections and requests in its pool: with a hundred at a time that
takes more of a core than all the rest of a call. So each pool is kept small.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

_EACH: Final = 16
"""Connections of a pool."""


class SpreadTransport(httpx.AsyncBaseTransport):
    """Takes its pools in turn. Of `connections` there may be twice as many for a moment: who calls bounds the calls."""

    def __init__(self, *, connections: int, keepalive_seconds: float) -> None:
        count = -(-connections // _EACH)
        most = connections if count == 1 else 2 * _EACH
        limits = httpx.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=keepalive_seconds)
        trust = httpx.create_ssl_context()
        self._pools = [httpx.AsyncHTTPTransport(verify=trust, limits=limits) for _ in range(count)]
        self._turns: Iterator[httpx.AsyncHTTPTransport] = itertools.cycle(self._pools)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it over the next pool."""
        return await next(self._turns).handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools:
            await pool.aclose()
