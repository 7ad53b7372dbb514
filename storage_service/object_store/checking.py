"""Is the bucket there, and may we do in it what we need to?"""

from typing import Final

from servicekit.errors import DomainError
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.settings import ConfigurationError
from storage_service.object_store.bucket import Bucket
from storage_service.object_store.failures import BucketMismatchError

_PROBE: Final = "stories/check"
_DATA: Final = b"May be removed at any time."
_MENDABLE: Final = frozenset({"INVALID_CONFIGURATION", "UPSTREAM_AUTH", "UPSTREAM_REFUSED"})


async def check_bucket(bucket: Bucket) -> None:
    """Lists it. ConfigurationError with the mend where that is refused, ProviderError where nobody answers."""
    try:
        await bucket.probe()
    except ProviderError as error:
        if isinstance(error, BucketMismatchError) or error.kind is ProviderErrorKind.AUTH:
            raise ConfigurationError(f"AUDIO_STORE_URL: {error.message}") from error
        raise


async def try_out(bucket: Bucket) -> None:
    """Writes, reads and removes an object, encrypted as audio is; ConfigurationError where it may not; DomainError."""
    await check_bucket(bucket)
    try:
        await bucket.put(_PROBE, lambda: _DATA, len(_DATA), content_type="text/plain")
        await bucket.get(_PROBE, 0, len(_DATA))
        await bucket.delete([_PROBE])
    except DomainError as error:
        if error.reason in _MENDABLE:
            raise ConfigurationError(
                f"AUDIO_STORE_URL: writing, reading and removing must be allowed there ({error.message})"
            ) from error
        raise
