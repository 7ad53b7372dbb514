"""The ObjectStore in a bucket of any server that speaks S3, behind a circuit breaker, retries and deadlines."""

from __future__ import annotations

import asyncio
import hashlib
import io
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import structlog
from obstore import sign_async
from obstore.store import S3Store

from servicekit.environment import proxy_for
from servicekit.errors import DomainError, provider_failed, unavailable
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.settings import ConfigurationError
from storage_service.errors import audio_corrupt
from storage_service.object_store.errors import (
    FAILURES,
    PROVIDER,
    BucketMismatchError,
    MissingObjectError,
    to_provider_error,
)
from storage_service.ports import ANY_BYTES, Clock, Upload
from storage_service.records import Blob, ObjectKey, SignedUrl
from storage_service.upstream import BufferedUpload, buffered_upload, outgoing_calls

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
    from contextlib import AbstractAsyncContextManager

    from obstore.store import ClientConfig, S3Config

    from servicekit.resilience.manager import BreakerManager
    from servicekit.resilience.outgoing import Attempt, AuditLog
    from storage_service.object_store.config import BucketConfig

T = TypeVar("T")

_log: Final = structlog.stdlib.get_logger("storage_service.object_store")

_PART: Final = 8 << 20
_PARTS_AT_ONCE: Final = 2
_CONCURRENCY: Final = 256
_BLOCK: Final = 4 << 20
_BATCH: Final = 500
_SECOND: Final = 1_000_000
_PROBE: Final = "check"
_DATA: Final = b"May be removed at any time."
_SETTINGS: Final = frozenset({"INVALID_CONFIGURATION", "UPSTREAM_AUTH", "UPSTREAM_REFUSED"})


class Bucket:
    """Objects by their path. Failures are DomainErrors, typed by the kit.

    All that is done here can be done twice, so it is repeated after passing failures. An attempt to write that has
    started continues when its caller goes away.
    """

    def __init__(
        self, config: BucketConfig, breakers: BreakerManager | None = None, audit: AuditLog | None = None
    ) -> None:
        self._variable = config.variable
        self._store = _open(config)
        self._timeout = config.timeout_seconds
        self._calls = outgoing_calls(PROVIDER, config, concurrency=_CONCURRENCY, breakers=breakers, audit=audit)
        self.settle = self._calls.settle

    async def check(self) -> None:
        """Reads from it. ConfigurationError with the remedy where that is refused, ProviderError without an answer."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._store.get_async(_PROBE, options={"range": (0, 1)})
        except FAILURES as error:
            failure = to_provider_error(error)
            if isinstance(failure, BucketMismatchError) or failure.kind is ProviderErrorKind.AUTH:
                raise ConfigurationError(f"{self._variable}: {failure.message}") from error
            if not isinstance(failure, MissingObjectError):
                raise failure from error

    async def try_out(self) -> None:
        """Writes, reads and removes an object, encrypted as audio is; ConfigurationError where that is not allowed."""
        await self.check()
        try:
            await self.put(_PROBE, lambda: _DATA, len(_DATA), content_type="text/plain")
            await self.get(_PROBE, 0, len(_DATA))
            await self.delete([_PROBE])
        except DomainError as error:
            if error.reason in _SETTINGS:
                raise ConfigurationError(
                    f"{self._variable}: writing, reading and removing must be allowed there ({error.message})"
                ) from error
            raise

    async def put(
        self, path: str, source: Callable[[], bytes | io.BufferedReader[Any]], size: int, *, content_type: str
    ) -> bool:
        """Sends an object, in parts if large; True if all of it arrived. `source` returns the bytes from the start."""

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

        return await self._call("put", send, finished=True)

    async def get(self, path: str, start: int, end: int) -> tuple[bytes, int]:
        """Returns the bytes [start, end) of an object, fewer where it is shorter, and its whole size; NOT_FOUND."""

        async def fetch() -> tuple[bytes, int]:
            async with asyncio.timeout(self._timeout):
                found = await self._store.get_async(path, options={"range": (start, end)})
                return bytes(await found.bytes_async()), found.meta["size"]

        return await self._call("get", fetch)

    async def delete(self, paths: Sequence[str]) -> None:
        """Removes objects; those that are not there are no error."""

        async def remove() -> None:
            async with asyncio.timeout(self._timeout):
                await self._store.delete_async(list(paths))

        await self._call("delete", remove, finished=True)

    async def sign(self, path: str, seconds: int) -> str:
        """Returns an address under which an object can be fetched for a while."""
        return await self._call("sign", lambda: sign_async(self._store, "GET", path, timedelta(seconds=seconds)))

    async def _call(self, endpoint: str, call: Callable[[], Awaitable[T]], *, finished: bool = False) -> T:
        async def typed(_: Attempt) -> T:
            try:
                return await call()
            except FAILURES as error:
                raise to_provider_error(error) from error

        try:
            return await self._calls.call(endpoint, typed, finished=finished)
        except ProviderError as error:
            raise provider_failed(error) from error


class BucketObjects:
    """Stores objects in a bucket; see ObjectStore for the methods.

    Bytes on their way wait in memory or a temporary file and are sent once they are known to be whole, so that an
    upload that is given up leaves nothing in the bucket. `clock` says when an address ends.
    """

    def __init__(self, bucket: Bucket, clock: Clock) -> None:
        self._bucket = bucket
        self._clock = clock

    async def open(self) -> None:
        """Checks that the bucket is there; ConfigurationError with the remedy.

        Where the store does not answer, the service begins without it: it may be there later.
        """
        try:
            await self._bucket.check()
        except ProviderError as error:
            _log.warning("object store not reachable yet", kind=error.kind.value, status=error.status)

    async def close(self) -> None:
        """Waits for what is under way."""
        await self.settle()

    async def settle(self) -> None:
        """Waits for writes, those whose callers are gone too."""
        await self._bucket.settle()

    def upload(self, key: ObjectKey, *, content_type: str = ANY_BYTES) -> AbstractAsyncContextManager[Upload]:
        """Takes bytes in, to send them when they are published."""
        return buffered_upload(lambda upload: self._send(key.path, upload, content_type or ANY_BYTES))

    async def read(self, blob: Blob, *, offset: int = 0, limit: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yields the bytes of an object, in blocks of 4 MiB, one request each."""
        path, size = blob.key.path, blob.size
        end = size if limit is None else min(size, offset + limit)
        position, sha256 = offset, hashlib.sha256()
        while position < end:
            try:
                block, whole = await self._bucket.get(path, position, min(end, position + _BLOCK))
            except DomainError as error:
                if error.reason == "NOT_FOUND":
                    raise audio_corrupt() from error
                raise
            position += len(block)
            sha256.update(block)
            damaged = position == size and offset == 0 and sha256.digest() != blob.sha256
            if not block or whole != size or damaged:
                raise audio_corrupt()
            yield block

    async def remove(self, keys: Collection[ObjectKey]) -> None:
        """Removes objects."""
        paths = [key.path for key in keys]
        for start in range(0, len(paths), _BATCH):
            await self._bucket.delete(paths[start : start + _BATCH])

    async def url(self, blob: Blob, *, expiry: int) -> SignedUrl:
        """Returns a signed address. S3 counts whole seconds."""
        seconds = max(1, expiry // _SECOND)
        ends = self._clock.now() + seconds * _SECOND
        return SignedUrl(await self._bucket.sign(blob.key.path, seconds), ends)

    async def _send(self, path: str, upload: BufferedUpload, content_type: str) -> None:
        if not await self._bucket.put(path, upload.source, upload.digest().size, content_type=content_type):
            await self._bucket.delete([path])
            raise unavailable("UPSTREAM_UNAVAILABLE", "The audio did not arrive whole at the store.")


def _proxied(config: BucketConfig) -> ClientConfig:
    """Returns what the client needs beside the environment, of which it takes HTTPS_PROXY and NO_PROXY itself."""
    url = config.endpoint or f"https://s3.{config.region}.amazonaws.com"
    proxy = proxy_for(url)
    if proxy is None and config.endpoint and config.access_key_id:
        # It would call this machine, too, through a proxy. (Without a key it also calls the platform for one.)
        return {"proxy_url": "http://127.0.0.1", "proxy_excludes": urlsplit(url).hostname or ""}
    if proxy is not None and proxy.startswith("socks"):
        raise ConfigurationError(
            f"{config.variable}=s3://… cannot be reached through the SOCKS proxy that ALL_PROXY or HTTPS_PROXY names; "
            f"set HTTPS_PROXY to a proxy over HTTP, or NO_PROXY to {urlsplit(url).hostname}"
        )
    return {}


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
            **_proxied(config),
            "allow_http": config.endpoint.startswith("http://"),
            "timeout": timedelta(seconds=config.timeout_seconds),
        },
        # Retries are the kit's.
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=config.timeout_seconds)},
    )
