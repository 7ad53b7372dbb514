"""Errors and warnings of a narration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.errors import DomainError
from servicekit.reasons import explained, reason_of
from servicekit.resilience.errors import ProviderErrorKind
from tale.common.v1 import common_pb2
from voice_service.providers.registry import no_providers_available

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servicekit.resilience.errors import CircuitOpenError, ProviderError
    from voice_service.providers.registry import Skipped

_RETRY_AFTER: Final = 5.0
_NO_AUDIO: Final = {"UPSTREAM_UNAVAILABLE", "CANCELLED"}
_HINTED: Final = {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}


def warned(reason: str, message: str, **metadata: str) -> common_pb2.Problem:
    """Returns a problem that does not stop the narration."""
    now = Timestamp()
    now.GetCurrentTime()
    return explained(common_pb2.Problem(reason=reason, message=message, time=now, metadata=metadata))


def handed_over(error: ProviderError, following: str, segment_index: int) -> common_pb2.Problem:
    """Returns the warning PROVIDER_FAILED: a provider failed at a segment for good, and `following` continues there."""
    return warned(
        "PROVIDER_FAILED",
        f"The voice provider {error.provider} failed ({_told(error)}); {following} continues.",
        provider=error.provider,
        next=following,
        why=error.kind.value,
        segment_index=str(segment_index),
    )


def waiting_for_provider(provider: str, seconds: float | None) -> common_pb2.Problem:
    """Returns the warning WAITING_FOR_PROVIDER: a provider may be called again in `seconds`; None: it is called now."""
    soon, hint = "has not answered yet", {}
    if seconds is not None:
        hint = {"retry_after": str(math.ceil(seconds))}
        soon = f"is tried again {f'in {math.ceil(seconds)} s' if seconds > 0 else 'shortly'}"
    said = f"The narration waits for the voice provider {provider}, which {soon}."
    return warned("WAITING_FOR_PROVIDER", said, provider=provider, **hint)


def waiting_for_place(provider: str) -> common_pb2.Problem:
    """Returns the warning WAITING_FOR_PLACE: earlier narrations are made first, or the provider takes long."""
    said = "The narration waits for its turn: earlier ones are made first."
    return warned("WAITING_FOR_PLACE", said, provider=provider)


def may_pass(error: ProviderError) -> bool:
    """Returns whether what a provider failed for, or is not called for, may be over a little later."""
    return reason_of(error.treatment.reason).retryable


def none_available(passed: Sequence[CircuitOpenError], skipped: Sequence[Skipped]) -> DomainError:
    """Returns the error where no provider of the chain is called now; `skipped` say why, those of `passed` the last.

    What the first was closed by, where that was no failure and no other may be back sooner (QUOTA_EXCEEDED,
    RATE_LIMITED); else UNAVAILABLE / NO_PROVIDERS_AVAILABLE.
    """
    reason = passed[0].treatment.reason
    if reason == "CIRCUIT_OPEN" or any(map(may_pass, passed[1:])):
        reason = "NO_PROVIDERS_AVAILABLE"
    return no_providers_available(skipped, reason=reason, retry_after=_wait_of(reason, passed))


def speech_failed(tried: Sequence[ProviderError], segment_index: int) -> DomainError:
    """Returns the error for a segment that every provider of the chain failed at, one error each, in order.

    Of one provider its own reason; of several that of the first that refuses the text itself, whatever the others may
    do later, or what the first refuses for; else UNAVAILABLE / FALLBACK_FAILURE. The metadata say what was tried and
    why it failed.
    """
    refused = next((error for error in tried if error.kind is ProviderErrorKind.CONTENT_POLICY), None)
    reason = (refused or tried[0]).treatment.reason
    if refused is None and len(tried) > 1 and may_pass(tried[0]):
        reason = "FALLBACK_FAILURE"
    elif reason in _NO_AUDIO:
        reason = "AUDIO_GENERATION_FAILED"
    why = "; ".join(f"{error.provider}: {_told(error)}" for error in tried)
    return DomainError(
        reason,
        f"The segment could not be spoken ({why}).",
        metadata={
            "segment_index": str(segment_index),
            "tried": ",".join(error.provider for error in tried),
            **{f"why_{error.provider}": error.kind.value for error in tried},
        },
        retry_after=_wait_of(reason, tried),
    )


def _told(error: ProviderError) -> str:
    return f'{error.message}. The provider says: "{error.said}"' if error.said else error.message


def _wait_of(reason: str, tried: Sequence[ProviderError]) -> float | None:
    """Returns the wait to hint at: the shortest that was named by one that the reason is about."""
    retryable, code = reason_of(reason).retryable, reason_of(reason).code
    if code not in _HINTED:
        return None
    named = [each.retry_after for each in tried if each.retry_after is not None and may_pass(each) is retryable]
    return min(named, default=_RETRY_AFTER if retryable else None)


def segment_lost(index: int, why: str) -> DomainError:
    """Returns FAILED_PRECONDITION / SEGMENT_LOST: the narration cannot continue after what the caller has."""
    return DomainError(
        "SEGMENT_LOST",
        f"Segment {index} of the narration so far {why}.",
        metadata={"segment_index": str(index)},
    )


def stored_without_storage() -> DomainError:
    """Returns FAILED_PRECONDITION / INVALID_CONFIGURATION: STORED is requested without a storage service."""
    return DomainError(
        "INVALID_CONFIGURATION",
        "Delivery STORED needs the segment store of the storage service. Set STORAGE_TARGET at the voice service.",
        metadata={"variable": "STORAGE_TARGET"},
    )


def empty_text() -> DomainError:
    """Returns INVALID_ARGUMENT / EMPTY_TEXT."""
    return DomainError("EMPTY_TEXT", "The text is empty: neither a title nor a word.")
