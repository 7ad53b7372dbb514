"""Calls to peer services that did not begin them."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from gateway.peers.clients import invoke
from servicekit.context import Caller, RequestContext, bound
from servicekit.errors import DomainError
from servicekit.status import to_status


@pytest.fixture(autouse=True)
def _context() -> Iterator[None]:
    """Calls carry a request id and an owner."""
    with bound(RequestContext("r", Caller("o"))):
        yield


class Method:
    """A unary method that fails as scripted, then answers."""

    def __init__(self, *failures: grpc.aio.AioRpcError) -> None:
        self.failures = list(failures)
        self.calls = 0

    async def __call__(self, request: str, **_: Any) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return request


def dropped(code: grpc.StatusCode, error: DomainError | None = None) -> grpc.aio.AioRpcError:
    """A failed call, bare or with a service's own words."""
    details = () if error is None else (("grpc-status-details-bin", to_status(error).SerializeToString()),)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*details))


FULL = dropped(grpc.StatusCode.RESOURCE_EXHAUSTED, DomainError("OVERLOADED", "Full.", retry_after=0.01))
LIMITED = dropped(grpc.StatusCode.RESOURCE_EXHAUSTED, DomainError("RATE_LIMITED", "Slower.", retry_after=0.01))
CANCELLED = dropped(grpc.StatusCode.CANCELLED)


@pytest.mark.parametrize("repeatable", [True, False])
async def test_call_that_an_overloaded_service_did_not_begin_is_repeated(*, repeatable: bool) -> None:
    """Whether or not it could be made twice."""
    method: Any = Method(FULL, FULL, FULL)
    assert "x" == await invoke(method, "x", repeatable=repeatable)
    assert 4 == method.calls


async def test_overloaded_service_is_not_waited_for_beyond_the_timeout() -> None:
    """Its caller learns that it is overloaded."""
    method: Any = Method(*[FULL] * 1000)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await invoke(method, "x", timeout=0.1)
    assert caught.value is FULL


async def test_dropped_call_is_repeated_if_it_may_be_made_twice() -> None:
    """gRPC cancels calls that a busy server has not taken up; this side raises no such error for its own cancelling."""
    method: Any = Method(CANCELLED)
    assert "x" == await invoke(method, "x", repeatable=True)
    for failure in (CANCELLED, LIMITED):
        method = Method(failure)
        with pytest.raises(grpc.aio.AioRpcError):
            await invoke(method, "x", repeatable=failure is LIMITED)
        assert 1 == method.calls
