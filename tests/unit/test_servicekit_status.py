"""Domain errors as google.rpc.Status, and back."""

import base64
from urllib.parse import quote

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from servicekit.errors import (
    DOMAIN,
    DomainError,
    FieldViolation,
    not_found,
    unavailable,
    validation_failed,
    wrong_state,
)
from servicekit.reasons import REASONS, Reason
from servicekit.status import DETAILS_KEY, from_rpc_error, to_status

RICH = DomainError(
    "RATE_LIMITED",
    "Слишком часто: wait 100%.",
    metadata={"provider": "speech"},
    violations=[FieldViolation("a", "must be given"), FieldViolation("b", "must be less")],
    retry_after=0.25,
)


def rpc_error(error: DomainError) -> grpc.aio.AioRpcError:
    """What a client gets for `error`."""
    trailing = grpc.aio.Metadata((DETAILS_KEY, to_status(error).SerializeToString()))
    return grpc.aio.AioRpcError(error.code, grpc.aio.Metadata(), trailing, error.message, "secret debug text")


def bare(code: grpc.StatusCode, details: str = "secret 10.0.0.7") -> grpc.aio.AioRpcError:
    """What the transport gives by itself."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details, "secret debug text")


def contents(error: DomainError) -> tuple[object, ...]:
    """All that an error says."""
    return (
        error.code,
        error.reason,
        error.message,
        error.remedy,
        error.retryable,
        error.metadata,
        error.violations,
        error.retry_after,
    )


def test_a_status_carries_all_there_is() -> None:
    """ErrorInfo, BadRequest and RetryInfo stand in the details, in this order."""
    status = to_status(RICH)
    info, bad_request, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )

    assert 8 == status.code
    assert [True] * 3 == [
        detail.Unpack(message) for detail, message in zip(status.details, (info, bad_request, retry), strict=True)
    ]
    assert ("RATE_LIMITED", "tale") == (info.reason, info.domain)
    assert {
        "provider": "speech",
        "remedy": "Try again after the time given.",
        "retryable": "true",
    } == dict(info.metadata)
    assert ["a", "b"] == [violation.field for violation in bad_request.field_violations]
    assert 250_000_000 == retry.retry_delay.nanos


@pytest.mark.parametrize(
    "error",
    [
        RICH,
        validation_failed([FieldViolation("spec.wish", "must be given")]),
        not_found("STORY_NOT_FOUND", "No such story.", story_id="1"),
        wrong_state("It is running.", state="WRITING"),
        unavailable("CIRCUIT_OPEN", "It rests.", 30.0),
        DomainError("UNIMPLEMENTED", "Not yet."),
    ],
    ids=lambda error: error.reason,
)
def test_a_siblings_error_comes_back_as_it_was(error: DomainError) -> None:
    """What one service raises is what the next one gets, in every field."""
    assert contents(error) == contents(from_rpc_error(rpc_error(error)))


def test_reason_of_a_newer_peer_service_passes_with_its_code_and_remedy() -> None:
    """Services are replaced one after the other, so a reason may come that this one does not know."""
    stated = Reason("ABORTED", "Repeat it.", retryable=True)
    newer = DomainError("NEWER_REASON", "Something new.", stated=stated)
    assert contents(newer) == contents(from_rpc_error(rpc_error(newer)))


@pytest.mark.parametrize(
    ("code", "seen", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
        (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"),
        (grpc.StatusCode.INTERNAL, grpc.StatusCode.INTERNAL, "INTERNAL"),
        (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, "INTERNAL"),
        (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL, "INTERNAL"),
        (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INTERNAL, "INTERNAL"),
    ],
)
def test_a_bare_error_becomes_a_typed_one(code: grpc.StatusCode, seen: grpc.StatusCode, reason: str) -> None:
    """The transport's own errors get a reason of ours and none of their text."""
    error = from_rpc_error(bare(code))

    assert (seen, reason) == (error.code, error.reason)
    assert "secret" not in f"{error} {error.message} {error.metadata}"


def test_message_that_is_too_large_is_not_sent_again() -> None:
    """Only gRPC's text tells it from a server that has as many calls as it may."""
    large = from_rpc_error(bare(grpc.StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max (9 vs. 4)"))
    busy = from_rpc_error(bare(grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"))
    assert ("RESOURCE_EXHAUSTED", False, None) == (large.reason, large.retryable, large.retry_after)
    assert ("OVERLOADED", True, 1.0) == (busy.reason, busy.retryable, busy.retry_after)


def test_reason_of_an_earlier_peer_service_is_looked_up_in_the_table() -> None:
    """It states neither remedy nor whether the call is retryable."""
    status = status_pb2.Status(code=14, message="Busy.")
    detail = status.details.add()
    detail.Pack(error_details_pb2.ErrorInfo(reason="UPSTREAM_UNAVAILABLE", domain=DOMAIN))
    metadata = grpc.aio.Metadata((DETAILS_KEY, status.SerializeToString()))
    error = from_rpc_error(grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), metadata, "Busy."))
    known = REASONS["UPSTREAM_UNAVAILABLE"]
    assert (known.remedy, True) == (error.remedy, error.retryable)


def test_only_unavailability_asks_to_come_again() -> None:
    """A bare UNAVAILABLE carries a retry hint, a missed deadline none."""
    assert [1.0, None] == [
        from_rpc_error(bare(code)).retry_after
        for code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    ]


@pytest.mark.parametrize("details", [b"", b"\xff\xff", b"\x08\x05\x12\x02hi"], ids=["none", "garbage", "not ours"])
def test_details_of_others_are_not_believed(details: bytes) -> None:
    """A status that does not parse or is of another domain counts as bare."""
    trailing = grpc.aio.Metadata((DETAILS_KEY, details))
    error = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), trailing, "secret", None)

    assert "INTERNAL" == from_rpc_error(error).reason


@pytest.mark.parametrize("letter", ["x", "я", "%"])
def test_a_status_always_fits_into_grpcs_metadata(letter: str) -> None:
    """However many violations of whatever length there are, text and details stay well below 8 KiB together."""
    error = validation_failed([FieldViolation(f"field_{index}", letter * 90) for index in range(500)])
    status = to_status(error)

    on_the_wire = len(quote(status.message)) + len(base64.b64encode(status.SerializeToString()))
    assert on_the_wire < 7_500


def test_violations_that_do_not_fit_are_counted() -> None:
    """When a status would get too long the last violation says how many more there are."""
    error = validation_failed([FieldViolation(f"field_{index}", "x" * 90) for index in range(100)])
    seen = from_rpc_error(rpc_error(error)).violations

    assert f"and {101 - len(seen)} more violations, not listed" == seen[-1].description
    assert error.violations[: len(seen) - 1] == seen[:-1]


def test_text_names_the_first_violations() -> None:
    """And how many more there are."""
    error = validation_failed([FieldViolation(f"f[{index}]", "must be given") for index in range(100)])
    assert error.message.endswith("; f[31] must be given; and 68 more")


def test_thirty_violations_all_arrive() -> None:
    """A request can be wrong in thirty fields and the caller learns them all."""
    error = validation_failed([FieldViolation(f"spec.field_{index}", "must be from 1 to 30") for index in range(30)])

    assert error.violations == from_rpc_error(rpc_error(error)).violations
