"""A bucket behind a circuit breaker, retries and deadlines."""

from __future__ import annotations

import asyncio
import io
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from obstore import sign_async
from obstore.store import S3Store

from servicekit.errors import unavailable
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.errors import ProviderError, to_domain_error
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.retry import RetryBudget, RetryPolicy
from storage_service.object_store.failures import FAILURES, PROVIDER, MissingObjectError, to_provider_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from obstore.store import S3Config

    from storage_service.object_store.config import BucketConfig

T = TypeVar("T")

_PART: Final = 8 << 20
_PARTS_AT_ONCE: Final = 2
_MOST_AT_ONCE: Final = 256


def breaker_config(name: str) -> BreakerConfig:
    """A circuit opens after 10 failures in a row, for 30 s at first."""
    return BreakerConfig(
        name=name, provider=PROVIDER, failure_threshold=10, recovery_timeout=30.0, max_recovery_timeout=300.0
    )


class Bucket:
    """Objects by their path. Failures are DomainErrors, typed by the kit.

    All that is done here can be done twice, so it is tried again after passing failures. Once begun a write goes on
    when its caller goes away.
    """

    def __init__(self, config: BucketConfig, breakers: BreakerManager | None = None) -> None:
        self.variable = config.variable
        self._store = _open(config)
        self._timeout = config.timeout_seconds
        self._breakers = breakers or BreakerManager(breaker_config)
        self._policy = RetryPolicy(
            retries=config.retries, delay=config.retry_delay, longest_wait=config.timeout_seconds
        )
        self._budget = RetryBudget()
        self._running: set[asyncio.Task[Any]] = set()

    async def settle(self) -> None:
        """Waits for writes whose callers have gone."""
        if self._running:
            await asyncio.wait(self._running)

    async def probe(self, path: str) -> None:
        """Asks for an object, which need not be there, once; ProviderError."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._store.get_async(path, options={"range": (0, 1)})
        except FAILURES as error:
            failure = to_provider_error(error)
            if not isinstance(failure, MissingObjectError):
                raise failure from error

    async def put(
        self, path: str, source: Callable[[], bytes | io.BufferedReader[Any]], size: int, *, content_type: str
    ) -> bool:
        """Sends an object, large ones in parts; True when all of it arrived. `source` gives the bytes anew."""

        async def send() -> bool:
            data = source()
            try:
                # Each part has the time limit, not the whole.
                await self._store.put_async(
                    path,
                    data,
                    attributes={"Content-Type": content_type},
                    chunk_size=_PART,
                    max_concurrency=_PARTS_AT_ONCE,
                )
            finally:
                if isinstance(data, io.BufferedReader):
                    data.close()
            return (await self._store.head_async(path))["size"] == size

        return await self._to_the_end(send)

    async def get(self, path: str, start: int, end: int) -> tuple[bytes, int]:
        """The bytes [start, end) of an object, fewer where it is shorter, and the size of all of it; NOT_FOUND."""

        async def fetch() -> tuple[bytes, int]:
            async with asyncio.timeout(self._timeout):
                found = await self._store.get_async(path, options={"range": (start, end)})
                return bytes(await found.bytes_async()), found.meta["size"]

        return await self._attempts(fetch)

    async def delete(self, paths: Sequence[str]) -> None:
        """Removes objects; those that are not there are no error."""

        async def remove() -> None:
            async with asyncio.timeout(self._timeout):
                await self._store.delete_async(list(paths))

        await self._to_the_end(remove)

    async def sign(self, path: str, seconds: int) -> str:
        """An address under which an object can be fetched for a while."""
        return await self._attempts(lambda: sign_async(self._store, "GET", path, timedelta(seconds=seconds)))

    async def _to_the_end(self, call: Callable[[], Awaitable[T]]) -> T:
        if len(self._running) >= _MOST_AT_ONCE:
            raise unavailable("STORAGE_BUSY", "Too many calls are waiting for the store.")
        task = asyncio.create_task(self._attempts(call))
        self._running.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def _attempts(self, call: Callable[[], Awaitable[T]]) -> T:
        breaker = self._breakers.get(PROVIDER, provider=PROVIDER)

        async def attempt() -> T:
            with breaker.call():
                try:
                    return await call()
                except FAILURES as error:
                    raise to_provider_error(error) from error

        try:
            result: T = await self._policy.attempts(budget=self._budget)(attempt)
        except ProviderError as error:
            raise to_domain_error(error) from error
        return result

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Its caller may be gone: the failure is nobody's then.
            task.exception()


def _open(config: BucketConfig) -> S3Store:
    options: S3Config = {"region": config.region, "skip_signature": False, "virtual_hosted_style_request": False}
    if config.endpoint:
        # The one that goes before all others, also those that the client finds in the environment.
        options["aws_endpoint_url_s3"] = config.endpoint
    if config.access_key_id:
        options["access_key_id"] = config.access_key_id
        options["secret_access_key"] = config.secret_access_key
    if config.session_token:
        options["session_token"] = config.session_token
    if config.kms_key_id:
        options["server_side_encryption"] = "aws:kms"
        options["sse_kms_key_id"] = config.kms_key_id
    elif config.kms_key_id is not None:
        options["server_side_encryption"] = "AES256"
    return S3Store(
        config.bucket,
        prefix=config.prefix or None,
        config=options,
        client_options={
            "allow_http": config.endpoint.startswith("http://"),
            "timeout": timedelta(seconds=config.timeout_seconds),
        },
        # Retries are the kit's.
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=config.timeout_seconds)},
    )
