"""What one caller may use: requests a minute here, stories, characters and dollars in the transaction of storage."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc
import structlog

from gateway.settings import GatewaySettings
from servicekit.errors import DomainError
from servicekit.metrics import Metrics
from servicekit.status import from_rpc_error
from tale.storage.v1 import storage_pb2

if TYPE_CHECKING:
    from limits.aio.storage import Storage
    from redis.asyncio import BlockingConnectionPool

_TIMEOUT: Final = 0.5
_CONNECTIONS: Final = 16
_AWAY_SECONDS: Final = 5.0
"""Seconds until a store that failed is used for the next time."""
_FULL_SECONDS: Final = 1.0
"""Seconds for which stories are refused without asking storage once it had too many that wait."""

log = structlog.get_logger(__name__)


class RequestLimit:
    """Refuses callers that call too often. Refused calls count for nothing.

    While the store of the counts is away, every caller is served: a story matters more than a count.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # They take 0.3 s to load, and few gateways have limits.
        from limits import RateLimitItemPerMinute  # noqa: PLC0415
        from limits.aio.strategies import SlidingWindowCounterRateLimiter  # noqa: PLC0415

        self._per_minute = RateLimitItemPerMinute(settings.requests_per_minute, namespace="tale")
        self._pool = _pool(settings.limit_store_url.get_secret_value())
        self._limiter = SlidingWindowCounterRateLimiter(_store(self._pool))
        self._failures = metrics.counter("gateway_limit_store_failures", "Requests not counted: the store was away")
        self._clock = clock
        self._away_until = float("-inf")

    async def check(self, caller: str) -> None:
        """Counts a request of `caller`. Raises RATE_LIMITED."""
        if (wait := await self._wait(caller)) > 0:
            limit = self._per_minute.amount
            raise DomainError(
                "RATE_LIMITED",
                f"More than {limit} requests of a caller in a minute.",
                metadata={"quota": "requests_per_minute", "limit": str(limit)},
                retry_after=wait,
            )

    async def close(self) -> None:
        """Closes the connections to the store."""
        if self._pool is not None:
            await self._pool.disconnect()

    async def _wait(self, caller: str) -> float:
        """Returns 0 if a request of `caller` may be made now, and counts it; else the seconds until it may."""
        if self._clock() >= self._away_until:
            try:
                async with asyncio.timeout(_TIMEOUT):
                    if await self._limiter.hit(self._per_minute, caller):
                        return 0.0
                    reset, _ = await self._limiter.get_window_stats(self._per_minute, caller)
            except Exception as error:  # noqa: BLE001 - whatever a client library raises, callers are served
                log.warning("requests not counted", error=type(error).__name__)
                self._away_until = self._clock() + _AWAY_SECONDS
            else:
                return max(0.01, reset - time.time())
        self._failures.inc()
        return 0.0


def _pool(url: str) -> "BlockingConnectionPool | None":
    if not url:
        return None
    from redis.asyncio import BlockingConnectionPool  # noqa: PLC0415 - see RequestLimit

    url = url.replace("valkey://", "redis://", 1).replace("valkeys://", "rediss://", 1)
    seconds = {"timeout": _TIMEOUT, "socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT}
    return BlockingConnectionPool.from_url(url, max_connections=_CONNECTIONS, **seconds)


def _store(pool: Any) -> "Storage":
    from limits.aio.storage import MemoryStorage, RedisStorage  # noqa: PLC0415 - see RequestLimit

    # The address is that of the pool.
    return MemoryStorage() if pool is None else RedisStorage("redis://", implementation="redispy", connection_pool=pool)


class Quotas:
    """The quotas of stories that a gateway gives to storage, which checks them as it stores a story."""

    def __init__(self, settings: GatewaySettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._of_caller = storage_pb2.Quota(
            max_unfinished=settings.stories_at_once,
            max_stories_per_day=settings.stories_per_day,
            max_characters_per_day=settings.characters_per_day,
            max_usd_per_day=settings.usd_per_day,
        )
        self._usd_per_minute = settings.usd_per_story_minute
        self._max_waiting = settings.max_waiting
        self._clock = clock
        self._full_until = float("-inf")

    def of_story(self, *, waits: bool) -> storage_pb2.Quota | None:
        """Returns the quota for a story of a caller, which `waits` or has a place; None for no bounds."""
        quota = storage_pb2.Quota(max_waiting=self._max_waiting if waits else 0)
        quota.MergeFrom(self._of_caller)
        if not quota.ByteSize():
            return None
        quota.usd_per_minute = self._usd_per_minute
        return quota

    def refuse_if_full(self) -> None:
        """Raises OVERLOADED while too many stories wait, as far as is known here: storage is not asked."""
        if self._clock() < self._full_until:
            raise _full()

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Raises OVERLOADED in place of the refusal of storage that too many stories of all callers wait."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            if from_rpc_error(error).metadata.get("quota") != "waiting":
                raise
            self._full_until = self._clock() + _FULL_SECONDS
            raise _full() from error


def _full() -> DomainError:
    return DomainError("OVERLOADED", "Too many stories wait for a place.", retry_after=10.0)
