"""Errors of providers as callers get them."""

import math

import pytest

from servicekit.errors import provider_failed
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.status import to_grpc_status


@pytest.mark.parametrize(
    ("asked", "kept"), [(None, None), (math.nan, None), (-3.0, 0.0), (0.0, 0.0), (12.5, 12.5), (1e300, 86_400.0)]
)
def test_a_wait_is_kept_as_a_clock_can_hold_it(asked: float | None, kept: float | None) -> None:
    """Whatever a provider asks for becomes a status that can be sent."""
    error = ProviderError(ProviderErrorKind.RATE, "too many calls", provider="one", retry_after=asked)

    assert kept == error.retry_after
    assert "RATE_LIMITED" == provider_failed(error).reason
    assert to_grpc_status(provider_failed(error)).trailing_metadata
