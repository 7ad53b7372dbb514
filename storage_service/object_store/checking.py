"""Checks that a bucket is there and that what the service does in it is allowed."""

from typing import Final

from servicekit.errors import DomainError
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.settings import ConfigurationError
from storage_service.object_store.bucket import Bucket
from storage_service.object_store.failures import BucketMismatchError

_PROBE: Final = "check"
_DATA: Final = b"May be removed at any time."
_SETTINGS: Final = frozenset({"INVALID_CONFIGURATION", "UPSTREAM_AUTH", "UPSTREAM_REFUSED"})


async def check_bucket(bucket: Bucket) -> None:
    """Reads from it. ConfigurationError with the remedy where that is refused, ProviderError without an answer."""
    try:
        await bucket.probe(_PROBE)
    except ProviderError as error:
        if isinstance(error, BucketMismatchError) or error.kind is ProviderErrorKind.AUTH:
            raise ConfigurationError(f"{bucket.variable}: {error.message}") from error
        raise


async def try_out(bucket: Bucket) -> None:
    """Writes, reads and removes an object, encrypted as audio is; ConfigurationError where it may not; DomainError."""
    await check_bucket(bucket)
    try:
        await bucket.put(_PROBE, lambda: _DATA, len(_DATA), content_type="text/plain")
        await bucket.get(_PROBE, 0, len(_DATA))
        await bucket.delete([_PROBE])
    except DomainError as error:
        if error.reason in _SETTINGS:
            raise ConfigurationError(
                f"{bucket.variable}: writing, reading and removing must be allowed there ({error.message})"
            ) from error
        raise
