"""The error that every failed call raises, and the reasons of the client itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY: Final = "grpc-status-details-bin"
OVERLOADED: Final = "OVERLOADED"
"""Reason of a server that is at its limit and did not begin the call."""


@dataclass(frozen=True, slots=True)
class OwnReason:
    """Status code, remedy and retryability of a reason of the client itself."""

    code: grpc.StatusCode
    remedy: str
    retryable: bool = False


OWN_REASONS: Final[Mapping[str, OwnReason]] = {
    "GATEWAY_UNREACHABLE": OwnReason(
        grpc.StatusCode.UNAVAILABLE, "Start one with `tale up`, or set GATEWAY_TARGET.", retryable=True
    ),
    "TLS_FAILED": OwnReason(
        grpc.StatusCode.FAILED_PRECONDITION,
        "Trust the authority of the certificate (for `tale`: --tls-ca FILE or TALE_TLS_CA), and use a target that the"
        " certificate is for.",
    ),
    "STREAM_INCOMPLETE": OwnReason(
        grpc.StatusCode.UNAVAILABLE,
        "Follow the story with WatchStory; ListStories lists it.",
        retryable=True,
    ),
    "TEXT_CHANGED": OwnReason(grpc.StatusCode.DATA_LOSS, "Read the whole story again with GetStory."),
    "AUDIO_CORRUPT": OwnReason(grpc.StatusCode.DATA_LOSS, "Read the audio again from its first byte."),
    "RECORDING_TOO_LARGE": OwnReason(grpc.StatusCode.FAILED_PRECONDITION, "Send a shorter recording."),
    "VALIDATION_FAILED": OwnReason(grpc.StatusCode.INVALID_ARGUMENT, "Fix every field that the violations name."),
}
"""The reasons of the client itself; all others come from the servers, with code and remedy."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A refused field of a request, and the rule that it violates."""

    field: str
    """Path of the field, such as "spec.child.age"."""
    description: str
    """The rule, as the end of a sentence that starts with the field: "must be from 1 to 18"."""


class TaleError(Exception):
    """A failed call, or an incorrect response.

    It is decoded from google.rpc.Status if the server sent one. OWN_REASONS has the reasons of the client itself.
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
        """Reason of ErrorInfo, such as "STORY_NOT_FOUND"; empty if the server sent none."""
        self.message = message
        """What happened, as text for people."""
        self.violations = tuple(violations)
        """All refused fields."""
        self.retry_after = retry_after
        """Seconds after which the server accepts another attempt; None if it sent none."""
        facts = dict(metadata or {})
        self.remedy = facts.pop("remedy", "")
        """What to do about it, in one sentence; empty if the server sent none."""
        self.retryable = facts.pop("retryable", "") == "true"
        """Whether the same call may succeed later, according to the server."""
        self.metadata: Mapping[str, str] = facts
        """Other facts of ErrorInfo."""
        self.attempts = 1
        """Number of attempts that were made."""
        self.request_id = ""
        """`x-request-id` of the call, which is in the logs of every service; empty if no call was made."""

    @property
    def connection_lost(self) -> bool:
        """Whether the connection was lost, so that the same call may succeed soon.

        True for UNAVAILABLE, and for an overloaded server, which did not begin the call. Other codes of a broken
        connection or a proxy count only without a reason, because the servers send a reason with every error.
        """
        if self.code is grpc.StatusCode.UNAVAILABLE or self.reason == OVERLOADED:
            return True
        return not self.reason and self.code in {
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
    """The errors of grpc and grpc.aio for a failed call."""

    def code(self) -> grpc.StatusCode: ...

    def details(self) -> str | None: ...

    def trailing_metadata(self) -> Any: ...


def error_from_rpc(error: RpcFailure, request_id: str = "") -> TaleError:
    """Returns the TaleError of a failed call, with its google.rpc details."""
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
    code = error.code()
    if code is grpc.StatusCode.CANCELLED and not reason:
        # The transport dropped the call: what the caller cancels raises no error that comes here.
        code = grpc.StatusCode.UNAVAILABLE
    failed = TaleError(
        code,
        reason,
        status.message or error.details() or error.code().name,
        violations=violations,
        retry_after=retry_after,
        metadata=metadata,
    )
    failed.request_id = request_id
    return failed


def _status_of(error: RpcFailure) -> status_pb2.Status:
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                status.ParseFromString(value)
            except DecodeError:
                # A proxy damaged it; the code and text of the call are still known.
                return status_pb2.Status()
    return status
