"""Turns any failure of a call into the error for its caller and the trace for the operator."""

import traceback
from typing import Final

import grpc
import structlog

from servicekit.errors import DomainError, internal, provider_failed
from servicekit.resilience.errors import ProviderError
from servicekit.status import from_rpc_error

_log: Final = structlog.stdlib.get_logger("servicekit.failures")

_MOST_FRAMES: Final = 30
_MOST_CAUSES: Final = 5


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


def log_defect(error: BaseException) -> None:
    """Logs an unexpected error by the types and stack frames of it and its causes."""
    _log.error("unexpected error", errors=described(error))


def described(error: BaseException) -> list[dict[str, object]]:
    """Returns `error` and its causes as type names and stack frames ("path:line function"), without their texts."""
    chain: list[dict[str, object]] = []
    link: BaseException | None = error
    while link is not None and len(chain) < _MOST_CAUSES:
        frames = traceback.extract_tb(link.__traceback__)[-_MOST_FRAMES:]
        entry: dict[str, object] = {
            "type": f"{type(link).__module__}.{type(link).__qualname__}",
            "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        }
        if isinstance(link, BaseExceptionGroup):
            entry["members"] = [described(member) for member in link.exceptions[:_MOST_CAUSES]]
        chain.append(entry)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return chain


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


def abort_within(error: BaseException) -> grpc.aio.AbortError | None:
    """Returns the AbortError that `error` is or, as a group, holds: then a status has been sent already."""
    if isinstance(error, grpc.aio.AbortError):
        return error
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return next((abort for member in members if (abort := abort_within(member)) is not None), None)
