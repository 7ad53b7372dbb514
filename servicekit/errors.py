"""The errors that a caller may see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import grpc

DOMAIN: Final = "tale"
"""Domain of every `google.rpc.ErrorInfo` of this project."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that can not be used.

    `field` is the path in the request ("spec.length_minutes"); `description` is the remedy, said so that it reads on
    after the field ("must be from 1 to 30"). Neither repeats the caller's value.
    """

    field: str
    description: str


class DomainError(Exception):
    """A failure with the gRPC code, reason and text that the caller is to get.

    `reason` is UPPER_SNAKE_CASE and stable; `message` and `metadata` go to the caller as they are, so they name no
    path, key, prompt or exception text. `retry_after` is in seconds.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after


def validation_failed(violations: Sequence[FieldViolation]) -> DomainError:
    """INVALID_ARGUMENT / VALIDATION_FAILED with every violation, in the text too."""
    message = "; ".join(f"{violation.field} {violation.description}" for violation in violations)
    return DomainError(grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED", message, violations=violations)


def not_found(reason: str, message: str, **metadata: str) -> DomainError:
    """NOT_FOUND with the reason given (STORY_NOT_FOUND, MODEL_NOT_FOUND, …)."""
    return DomainError(grpc.StatusCode.NOT_FOUND, reason, message, metadata=metadata)


def wrong_state(message: str, **metadata: str) -> DomainError:
    """FAILED_PRECONDITION / WRONG_STATE."""
    return DomainError(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE", message, metadata=metadata)


def unavailable(reason: str, message: str, retry_after: float = 1.0) -> DomainError:
    """UNAVAILABLE with a hint when to try again, in seconds."""
    return DomainError(grpc.StatusCode.UNAVAILABLE, reason, message, retry_after=retry_after)


def unimplemented(message: str) -> DomainError:
    """UNIMPLEMENTED / UNIMPLEMENTED."""
    return DomainError(grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED", message)


def reconnect(retry_after: float = 0.2) -> DomainError:
    """UNAVAILABLE / RECONNECT: this server is going down; another, or the next, goes on."""
    return unavailable("RECONNECT", "The server is going down; connect again and go on.", retry_after)


def internal(correlation_id: str) -> DomainError:
    """INTERNAL / INTERNAL: a defect of ours, with nothing but the id under which the log knows it."""
    return DomainError(
        grpc.StatusCode.INTERNAL,
        "INTERNAL",
        "Internal error; the operator finds it by its correlation id.",
        metadata={"correlation_id": correlation_id},
    )
