"""Errors and warnings of a narration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from servicekit.errors import DomainError
from servicekit.reasons import reason_of
from voice_service.narration.messages import Warned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servicekit.resilience.errors import ProviderError
    from voice_service.narration.speaker import Speaker

_RETRY_AFTER: Final = 5.0
_NO_AUDIO: Final = {"UPSTREAM_UNAVAILABLE", "CANCELLED"}
_HINTED: Final = {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}


def handed_over(error: ProviderError, following: Speaker, segment_index: int) -> Warned:
    """Returns the warning PROVIDER_FAILED: `following` continues from a segment that a provider failed at for good."""
    name = following.provider.metadata.name
    return Warned(
        reason="PROVIDER_FAILED",
        message=f"The voice provider {error.provider} failed ({error.message}); {name} continues.",
        facts={
            "provider": error.provider,
            "next": name,
            "why": error.kind.value,
            "segment_index": str(segment_index),
        },
    )


def speech_failed(tried: Sequence[ProviderError], segment_index: int) -> DomainError:
    """Returns the error for a segment that every provider of the chain failed at, one error each, in order.

    Of one provider its own reason; of several UNAVAILABLE / FALLBACK_FAILURE where another attempt may help with one
    of them, else what the first refuses for. The metadata say what was tried and why it failed.
    """
    reason = tried[0].treatment.reason
    if len(tried) > 1 and any(reason_of(error.treatment.reason).retryable for error in tried):
        reason = "FALLBACK_FAILURE"
    elif reason in _NO_AUDIO:
        reason = "AUDIO_GENERATION_FAILED"
    why = "; ".join(f"{error.provider}: {error.message}" for error in tried)
    asked = [error.retry_after for error in tried if error.retry_after is not None]
    hint = _RETRY_AFTER if reason_of(reason).retryable else None
    return DomainError(
        reason,
        f"The segment could not be spoken ({why}).",
        metadata={
            "segment_index": str(segment_index),
            "tried": ",".join(error.provider for error in tried),
            **{f"why_{error.provider}": error.kind.value for error in tried},
        },
        retry_after=min(asked, default=hint) if reason_of(reason).code in _HINTED else None,
    )


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
