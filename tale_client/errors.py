"""The one error of the client."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

DOMAIN: Final = "tale"
"""Domain of the ErrorInfo of every error that a tale server means to send."""

_DETAILS_KEY: Final = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class OwnReason:
    """What follows from a reason that the client itself gives."""

    code: grpc.StatusCode
    remedy: str
    retryable: bool = False


OWN_REASONS: Final[Mapping[str, OwnReason]] = {
    "GATEWAY_UNREACHABLE": OwnReason(
        grpc.StatusCode.UNAVAILABLE, "Start one with `tale up`, or set GATEWAY_TARGET.", retryable=True
    ),
    "STREAM_INCOMPLETE": OwnReason(
        grpc.StatusCode.UNAVAILABLE,
        "Follow the story with WatchStory; ListStories lists it.",
        retryable=True,
    ),
    "TEXT_CHANGED": OwnReason(grpc.StatusCode.DATA_LOSS, "Read the whole story anew with GetStory."),
    "AUDIO_CORRUPT": OwnReason(grpc.StatusCode.DATA_LOSS, "Read the audio anew from its first byte."),
    "RECORDING_TOO_LARGE": OwnReason(grpc.StatusCode.FAILED_PRECONDITION, "Send a shorter recording."),
    "VALIDATION_FAILED": OwnReason(grpc.StatusCode.INVALID_ARGUMENT, "Fix every field that the violations name."),
}
"""The client's own reasons; all others come from the servers, with code and remedy."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A field of a request that the server refused, and what it should be."""

    field: str
    """Path of the field, such as "spec.child.age"."""
    description: str
    """What it should be, said so that it reads on after the field."""


class TaleError(Exception):
    """A call that failed, or an answer that can not be right.

    Decoded from google.rpc.Status where the server sent one. Reasons of the client's own stand in OWN_REASONS.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        violations: Sequence[Violation] = (),
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{reason or code.name}: {message}")
        self.code = code
        """gRPC status code."""
        self.reason = reason
        """Reason as in ErrorInfo, such as "STORY_NOT_FOUND"; empty where the server gave none."""
        self.message = message
        """What happened, for a person."""
        self.violations = tuple(violations)
        """Every field that was refused."""
        self.retry_after = retry_after
        """Seconds after which the server would like to be asked again; None where it said nothing."""
        facts = dict(metadata or {})
        self.remedy = facts.pop("remedy", "")
        """What to do about it: one sentence; empty where the server gave none."""
        self.retryable = facts.pop("retryable", "") == "true"
        """Whether the server says that the same call may succeed later."""
        self.metadata: Mapping[str, str] = facts
        """Facts as in ErrorInfo."""
        self.attempts = 1
        """Calls that were made before this was raised."""

    @property
    def connection_lost(self) -> bool:
        """True when the same call may well succeed if it is made again now or soon.

        UNAVAILABLE always; other codes that a broken connection or a proxy produces only where the server itself
        said nothing (it gives a reason with everything that it means).
        """
        if self.code is grpc.StatusCode.UNAVAILABLE:
            return True
        return not self.reason and self.code in {
            grpc.StatusCode.CANCELLED,
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.INTERNAL,
            grpc.StatusCode.UNKNOWN,
        }


def own_error(
    reason: str, message: str, *, violations: Sequence[Violation] = (), metadata: Mapping[str, str] | None = None
) -> TaleError:
    """Returns an error of the client itself, for a reason in OWN_REASONS."""
    known = OWN_REASONS[reason]
    error = TaleError(known.code, reason, message, violations=violations, metadata=metadata)
    error.remedy, error.retryable = known.remedy, known.retryable
    return error


class RpcFailure(Protocol):
    """What grpc and grpc.aio raise where a call fails."""

    def code(self) -> grpc.StatusCode: ...

    def details(self) -> str | None: ...

    def trailing_metadata(self) -> Any: ...


def error_from_rpc(error: RpcFailure) -> TaleError:
    """What a failed call says, with the google.rpc details that it carries."""
    reason, metadata, retry_after = "", dict[str, str](), None
    violations: list[Violation] = []
    status = _status_of(error)
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        retry_info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad_request):
            violations += [Violation(each.field, each.description) for each in bad_request.field_violations]
        elif detail.Unpack(retry_info):
            retry_after = retry_info.retry_delay.ToNanoseconds() / 1e9
    return TaleError(
        error.code(),
        reason,
        status.message or error.details() or error.code().name,
        violations=violations,
        retry_after=retry_after,
        metadata=metadata,
    )


def _status_of(error: RpcFailure) -> status_pb2.Status:
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                status.ParseFromString(value)
            except DecodeError:
                # Whoever stands between spoiled it; the code and text of the call still tell what happened.
                return status_pb2.Status()
    return status
