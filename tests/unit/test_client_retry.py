"""The waits and limits of repeated calls."""

import grpc
import pytest

from tale_client.calls import Backoff, ReconnectPolicy, Reconnects
from tale_client.errors import TaleError


def lost() -> TaleError:
    return TaleError(grpc.StatusCode.UNAVAILABLE, "", "gone")


def test_backoff_grows_to_its_bound() -> None:
    """Waits double up to the maximum."""
    backoff = Backoff(initial=0.1, maximum=1.0)
    assert [0.2, 0.4, 0.8, 1.0, 1.0] == [backoff.delay(n, uniform=lambda: 1.0) for n in (1, 2, 3, 4, 4000)]


def test_backoff_has_full_jitter() -> None:
    """The shortest wait is zero, so that clients do not return at the same time."""
    assert 0.0 == Backoff().delay(5, uniform=lambda: 0.0)


def test_backoff_respects_retry_after_up_to_its_limit() -> None:
    """RetryInfo sets the wait, up to a maximum."""
    backoff = Backoff(maximum=1.0, max_retry_after=30.0)
    assert 7.0 == backoff.delay(1, 7.0)
    assert 30.0 == backoff.delay(1, 3600.0)


def test_reconnects_stop_only_past_both_limits() -> None:
    """Neither many quick losses nor a long time alone end a stream."""
    now = 0.0
    reconnects = Reconnects(ReconnectPolicy(attempts=2, timeout=10.0), lambda: now)
    for _ in range(5):
        reconnects.lost(lost())
    now = 10.0
    with pytest.raises(TaleError, match="gone"):
        reconnects.lost(lost())


def test_progress_resets_the_reconnects() -> None:
    """A connection with progress resets the count."""
    now = 0.0
    reconnects = Reconnects(ReconnectPolicy(attempts=1, timeout=10.0), lambda: now)
    reconnects.lost(lost())
    reconnects.progressed()
    now = 100.0
    assert 0.0 <= reconnects.lost(lost())
