"""Stores behind a network: how they are called, and uploads that wait until they are whole."""

import asyncio
import hashlib
import io
import os
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.limits import ProviderLimits
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import AuditLog, OutgoingCalls
from servicekit.resilience.retry import RetryPolicy
from storage_service.errors import check_digest, storage_full
from storage_service.object_store.config import BucketConfig
from storage_service.ports import Upload
from storage_service.records import Digest
from storage_service.supabase.config import SupabaseConfig


def breaker_config(name: str) -> BreakerConfig:
    """Returns the settings of a circuit breaker, whose name begins with its provider's."""
    return BreakerConfig(
        name=name,
        provider=name.partition(":")[0],
        failure_threshold=10,
        recovery_timeout=30.0,
    )


def outgoing_calls(
    provider: str,
    config: SupabaseConfig | BucketConfig,
    *,
    concurrency: int,
    breakers: BreakerManager | None,
    audit: AuditLog | None,
) -> OutgoingCalls:
    """Returns what makes the calls to a store, `concurrency` at once."""
    return OutgoingCalls(
        provider,
        breakers=breakers or BreakerManager(breaker_config),
        policy=RetryPolicy(retries=config.retries, delay=config.retry_delay, longest_wait=config.timeout_seconds),
        audit=audit,
        limits=ProviderLimits(concurrency, provider=provider),
    )


_IN_MEMORY: Final = 1 << 20


class BufferedUpload:
    """An upload whose bytes wait, first in memory, then in a file, until they are whole; `send` sends them."""

    def __init__(self, send: "Callable[[BufferedUpload], Awaitable[None]]") -> None:
        self._send = send
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, prefix="tale-audio-")  # noqa: SIM115 - see close
        self._sha256 = hashlib.sha256()
        self._size = 0

    async def write(self, data: bytes) -> None:
        """Adds bytes; RESOURCE_EXHAUSTED / STORAGE_FULL where the disk does not take them."""
        if self._size + len(data) <= _IN_MEMORY:
            self._write(data)
            return
        try:
            await asyncio.to_thread(self._write, data)
        except OSError as error:
            raise storage_full() from error

    async def publish(self, expected: Digest | None = None) -> Digest:
        """Sends the bytes. Repeating it puts the same bytes in the same place."""
        digest = self.digest()
        check_digest(digest, expected)
        await self._send(self)
        return digest

    def digest(self) -> Digest:
        """Returns size and hash so far."""
        return Digest(self._size, self._sha256.digest())

    def source(self) -> "bytes | io.BufferedReader[Any]":
        """Returns all of it, from the start, as often as needed. A reader is closed by the caller."""
        if self._size <= _IN_MEMORY:
            self._file.seek(0)
            return self._file.read()
        self._file.flush()
        reader = io.BufferedReader(io.FileIO(os.dup(self._file.fileno()), "rb"))
        reader.seek(0)
        return reader

    async def close(self) -> None:
        """Lets go of the bytes."""
        await asyncio.to_thread(self._file.close)

    def _write(self, data: bytes) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(data)
        self._sha256.update(data)
        self._size += len(data)


@asynccontextmanager
async def buffered_upload(send: "Callable[[BufferedUpload], Awaitable[None]]") -> AsyncGenerator[Upload, None]:
    """Takes bytes in, to send them when they are published: an upload that is given up leaves nothing behind."""
    upload = BufferedUpload(send)
    try:
        yield upload
    finally:
        await upload.close()
