"""Errors with the reason, text and gRPC code that a caller gets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import grpc

from servicekit.reasons import Reason, reason_of
from servicekit.resilience.errors import ProviderError

DOMAIN: Final = "tale"
"""Domain of every `google.rpc.ErrorInfo` of this project."""

_RETRY_SECONDS: Final = 5.0
_VIOLATIONS_IN_TEXT: Final = 32

_HINTED: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that cannot be used.

    `field` is the path in the request ("spec.length_minutes"); `description` continues the sentence that the field
    begins ("must be from 1 to 30"). Neither repeats the caller's value.
    """

    field: str
    description: str


class DomainError(Exception):
    """A failure with the reason and text that the caller gets; the gRPC code and the remedy follow from the reason.

    `reason` stands in `servicekit.reasons`; `message` and `metadata` go to the caller as they are, so they name no
    path, key, prompt or exception text. `retry_after` is in seconds. `stated` replaces the table for an error that a
    peer service sent, which may be of another version.

    Raises LookupError for a reason that is not in the table.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after: float | None = None,
        stated: Reason | None = None,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        found = stated or reason_of(reason)
        self.code = grpc.StatusCode[found.code]
        self.remedy = found.remedy
        self.retryable = found.retryable
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after


def validation_failed(violations: Sequence[FieldViolation]) -> DomainError:
    """Returns INVALID_ARGUMENT / VALIDATION_FAILED with every violation, the first ones in the text too."""
    said = [f"{violation.field} {violation.description}" for violation in violations[:_VIOLATIONS_IN_TEXT]]
    if more := len(violations) - len(said):
        said.append(f"and {more} more")
    return DomainError("VALIDATION_FAILED", "; ".join(said), violations=violations)


def not_found(reason: str, message: str, **metadata: str) -> DomainError:
    """Returns NOT_FOUND with the reason given (STORY_NOT_FOUND, MODEL_NOT_FOUND, …)."""
    return DomainError(reason, message, metadata=metadata)


def resource_not_found(noun: str, resource_id: str) -> DomainError:
    """Returns STORY_, CHILD_ or HERO_NOT_FOUND: unknown, or of another owner; the error does not say which."""
    return not_found(f"{noun.upper()}_NOT_FOUND", f"There is no {noun} of that id.", **{f"{noun}_id": resource_id})


def wrong_state(message: str, **metadata: str) -> DomainError:
    """Returns FAILED_PRECONDITION / WRONG_STATE."""
    return DomainError("WRONG_STATE", message, metadata=metadata)


def unavailable(reason: str, message: str, retry_after: float = 1.0) -> DomainError:
    """Returns UNAVAILABLE with the time to wait, in seconds."""
    return DomainError(reason, message, retry_after=retry_after)


def reconnect(retry_after: float = 0.2) -> DomainError:
    """Returns UNAVAILABLE / RECONNECT: this server is shutting down, another one continues."""
    return unavailable("RECONNECT", "The server is shutting down.", retry_after)


def internal(correlation_id: str) -> DomainError:
    """Returns INTERNAL / INTERNAL: a defect, with nothing but its correlation id in the log."""
    return DomainError(
        "INTERNAL",
        "Internal error. The log of the services has it under its correlation id.",
        metadata={"correlation_id": correlation_id},
    )


def provider_failed(error: ProviderError) -> DomainError:
    """Returns `error` as the caller of a service sees it when nothing else is left to try."""
    failed = DomainError(
        error.treatment.reason,
        f"{error.provider}: {error.message}.",
        metadata={"provider": error.provider, "kind": error.kind.value},
    )
    if failed.code in _HINTED:
        # Where no wait helps, such as a used up quota, only the provider can say when it will be over.
        hint = _RETRY_SECONDS if failed.retryable else None
        failed.retry_after = hint if error.retry_after is None else error.retry_after
    return failed
