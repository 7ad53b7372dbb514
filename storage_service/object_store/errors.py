"""Tells apart how an object store fails, by the status and the code of its answer.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import re
from typing import Final

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from servicekit.resilience.errors import ProviderError, ProviderErrorKind, Treatment

PROVIDER: Final = "s3"

FAILURES: Final = (BaseError, OSError, ValueError)
"""What obstore raises. A FileNotFoundError is an OSError."""

_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_SERVER: Final = 500
_MISSING: Final = frozenset({404, 416})
_BUSY: Final = frozenset({"SlowDown", "RequestLimitExceeded", "ThrottlingException", "TooManyRequests"})
_SETTINGS: Final = {
    "NoSuchBucket": "the bucket is not there; create it, or fix AUDIO_STORE_URL or SEGMENT_STORE_URL",
    "PermanentRedirect": "the bucket is in another region; set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_REGION",
    "NotImplemented": "the store does not know this kind of encryption; see AUDIO_STORE_ENCRYPTION",
    "KMSNotConfigured": "the store does not know this kind of encryption; see AUDIO_STORE_ENCRYPTION",
}


class BucketMismatchError(ProviderError):
    """The bucket is not there, or not as the settings say: only a change of the settings helps."""

    def __init__(self, message: str, *, status: int) -> None:
        treatment = Treatment(reason="INVALID_CONFIGURATION")
        super().__init__(ProviderErrorKind.AUTH, message, provider=PROVIDER, status=status, treatment=treatment)


class MissingObjectError(ProviderError):
    """There is no such object, or not as much of it: an answer, not a failure."""

    def __init__(self, *, status: int) -> None:
        kind, treatment = ProviderErrorKind.INVALID_INPUT, Treatment(reason="NOT_FOUND")
        super().__init__(kind, "there is no such object", provider=PROVIDER, status=status, treatment=treatment)


def to_provider_error(error: Exception) -> ProviderError:
    """Returns what obstore's error means, without its text, which holds addresses and answers."""
    said = str(error)
    found = _STATUS.search(said)
    status = int(found[1]) if found else 0
    code = found[1] if (found := _CODE.search(said)) else ""
    if code in _SETTINGS:
        return BucketMismatchError(_SETTINGS[code], status=status)
    if not isinstance(error, TimeoutError) and (isinstance(error, FileNotFoundError) or status in _MISSING):
        return MissingObjectError(status=status)
    if isinstance(error, UnauthenticatedError | PermissionDeniedError):
        status = status or 403
    kind, message = _by_status(429 if code in _BUSY else status)
    if not status and (isinstance(error, TimeoutError) or "TimedOut" in said):
        kind, message = ProviderErrorKind.TIMEOUT, "no answer in time"
    return ProviderError(kind, message, provider=PROVIDER, status=status)


def _by_status(status: int) -> tuple[ProviderErrorKind, str]:
    match status:
        case 0:
            return ProviderErrorKind.TRANSPORT, "the connection failed"
        case 401 | 403:
            return ProviderErrorKind.AUTH, "access is denied; see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        case 408 | 504:
            return ProviderErrorKind.TIMEOUT, "it took too long"
        case 429:
            return ProviderErrorKind.RATE, "too many calls"
        case _ if status >= _SERVER:
            return ProviderErrorKind.OVERLOAD, "it failed on its own side"
        case _:
            return ProviderErrorKind.INVALID_INPUT, "the call was refused"
