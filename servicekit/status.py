"""Converts any failure of a call to a DomainError, and DomainError to google.rpc.Status and back."""

import math
from contextlib import suppress
from typing import Any, Final

import grpc
from google.protobuf.any import pack
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from servicekit.errors import DOMAIN, DomainError, FieldViolation, internal, provider_failed, unavailable
from servicekit.logging import log_defect
from servicekit.reasons import REASONS, Reason
from servicekit.resilience.errors import ProviderError

DETAILS_KEY: Final = "grpc-status-details-bin"

# gRPC refuses metadata above 8 KiB; both the percent-encoded text and the base64 of the details must fit.
_MESSAGE_BUDGET: Final = 1_200
_STATUS_BUDGET: Final = 4_096

_REMEDY: Final = "remedy"
_RETRYABLE: Final = "retryable"
_TRUE: Final = "true"

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

_KEPT: Final = {
    grpc.StatusCode.DEADLINE_EXCEEDED: "A service that this call needs did not answer in time.",
    grpc.StatusCode.UNIMPLEMENTED: "A service that this call needs does not know it.",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "A message is too large for a service that this call needs.",
}


_BROKEN: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""Codes of calls that the transport failed. A busy server of gRPC cancels calls that it has not taken up."""

_TOO_LARGE: Final = "larger than max"
"""What gRPC's text for a message above its limit contains, in either direction."""


def to_status(error: DomainError) -> status_pb2.Status:
    """Returns the rich status of `error`: ErrorInfo, then BadRequest with all violations, then RetryInfo.

    The metadata of ErrorInfo say the `remedy` and whether the call is `retryable` ("true" or "false").

    What would not fit into gRPC's metadata is left out at the end: text is cut, and of a great many violations the
    last are summed up in one.
    """
    status = status_pb2.Status(code=error.code.value[0], message=_shortened(error.message))
    metadata = {**error.metadata, _REMEDY: error.remedy, _RETRYABLE: _TRUE if error.retryable else "false"}
    status.details.append(pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)))
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(math.ceil(max(0.0, error.retry_after) * 1e9))
        status.details.append(pack(retry))
    if error.violations:
        room = _STATUS_BUDGET - status.ByteSize()
        status.details.insert(1, pack(_bad_request(error.violations, room)))
    return status


def to_grpc_status(error: DomainError) -> grpc.Status:
    """Returns what `ServicerContext.abort_with_status` takes."""
    from grpc_status import rpc_status  # noqa: PLC0415 - only failing calls need it

    return rpc_status.to_status(to_status(error))


def from_rpc_error(error: grpc.aio.AioRpcError) -> DomainError:
    """Returns what a failed call to a peer service means to the caller of this one.

    The rich status of a peer service passes unchanged. A bare status comes from the transport: UNAVAILABLE is
    UPSTREAM_UNAVAILABLE with a retry hint, and so is CANCELLED: a cancellation by this side is a CancelledError.
    DEADLINE_EXCEEDED and UNIMPLEMENTED keep their code, RESOURCE_EXHAUSTED is a message that is too large, or
    OVERLOADED, and everything else is INTERNAL, since the caller cannot fix it. No upstream text is passed on.
    """
    with suppress(DecodeError):
        rich = _from_status(status_pb2.Status.FromString(_details(error) or b""))
        if rich is not None and error.code() is grpc.StatusCode.UNAUTHENTICATED:
            # The credentials of this service are wrong, not those of its caller.
            return DomainError("INVALID_CONFIGURATION", "The services of the cluster need the same SERVICE_TOKEN.")
        if rich is not None:
            return rich
    code = error.code()
    if code in _BROKEN:
        return unavailable("UPSTREAM_UNAVAILABLE", "A service that this call needs cannot be reached.")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE not in (error.details() or ""):
        # gRPC's server has as many calls as it may.
        return DomainError("OVERLOADED", "A service that this call needs is at its limit.", retry_after=1.0)
    if code in _KEPT:
        return DomainError(code.name, _KEPT[code])
    return DomainError("INTERNAL", "Internal error.")


def to_domain_error(error: BaseException, correlation_id: str) -> DomainError:
    """Returns the error that the caller gets for `error`, whatever it is.

    Domain errors stay; failures of providers and of calls to peer services are translated; everything else is INTERNAL
    with the correlation id alone, and is logged by type and stack frames, since exception texts may carry what users
    wrote. Of a group whose members all are for the caller the first one counts.
    """
    known = _known(error)
    if known is None:
        log_defect(error)
        return internal(correlation_id)
    if known.code is grpc.StatusCode.INTERNAL and "correlation_id" not in known.metadata:
        return internal(correlation_id)
    return known


def abort_within(error: BaseException) -> grpc.aio.AbortError | None:
    """Returns the AbortError that `error` is or, as a group, holds: then a status has been sent already."""
    if isinstance(error, grpc.aio.AbortError):
        return error
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return next((abort for member in members if (abort := abort_within(member)) is not None), None)


def connection_broke(error: grpc.aio.AioRpcError) -> bool:
    """Returns whether the transport failed the call; a peer service that answers UNAVAILABLE itself sends details."""
    return error.code() in _BROKEN and _details(error) is None


def _known(error: BaseException) -> DomainError | None:
    match error:
        case DomainError():
            return error
        case ProviderError():
            return provider_failed(error)
        case grpc.aio.AioRpcError():
            return from_rpc_error(error)
        case ExceptionGroup():
            members = [_known(member) for member in error.exceptions]
            return None if None in members else members[0]
        case _:
            return None


def _details(error: grpc.aio.AioRpcError) -> Any:
    return next((value for key, value in error.trailing_metadata() or () if key == DETAILS_KEY), None)


def _from_status(status: status_pb2.Status) -> DomainError | None:
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    retry_after: float | None = None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad_request)
        if detail.Unpack(retry):
            retry_after = retry.retry_delay.ToNanoseconds() / 1e9
    code = _CODES.get(status.code)
    if info.domain != DOMAIN or code is None or code is grpc.StatusCode.OK:
        return None
    metadata = dict(info.metadata)
    # A peer service of an earlier version does not state them.
    known = REASONS.get(info.reason, Reason(code.name, ""))
    remedy = metadata.pop(_REMEDY, known.remedy)
    retryable = metadata.pop(_RETRYABLE, _TRUE if known.retryable else "") == _TRUE
    return DomainError(
        info.reason,
        status.message,
        stated=Reason(code.name, remedy, retryable=retryable),
        metadata=metadata,
        violations=[FieldViolation(v.field, v.description) for v in bad_request.field_violations],
        retry_after=retry_after,
    )


def _bad_request(violations: tuple[FieldViolation, ...], room: int) -> error_details_pb2.BadRequest:
    bad_request = error_details_pb2.BadRequest()
    for done, violation in enumerate(violations):
        bad_request.field_violations.add(field=violation.field, description=violation.description)
        # 160 bytes are left for the wrapping and for the line that sums up.
        if bad_request.ByteSize() > room - 160:
            del bad_request.field_violations[-1]
            bad_request.field_violations.add(
                field="", description=f"and {len(violations) - done} more violations, not listed"
            )
            break
    return bad_request


def _shortened(text: str) -> str:
    """Returns `text`, cut where its percent-encoded form would take more than the budget."""
    spent = 0
    for index, character in enumerate(text):
        spent += 1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode("utf-8", "replace"))
        if spent > _MESSAGE_BUDGET:
            return text[:index] + "…"
    return text
