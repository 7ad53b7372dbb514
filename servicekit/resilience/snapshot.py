"""A circuit breaker at one moment, and the JSON in which operators see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

State: TypeAlias = Literal["closed", "open", "half_open"]

STATES: Final[tuple[State, ...]] = ("closed", "open", "half_open")


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSnapshot:
    """State and counts since the process began; `total_calls` are those let through, in flight ones included.

    `ignored_calls` ended in a way that says nothing about the provider, `rejected_calls` were not let through,
    `fallback_calls` were answered from a cache or by a fixed answer. `transitions` counts the changes by the state
    that they led to. `retry_time` is when an open circuit will let a probe through, in `retry_after` seconds.
    """

    name: str
    provider: str
    state: State
    total_calls: int
    successful_calls: int
    failed_calls: int
    ignored_calls: int
    rejected_calls: int
    slow_calls: int
    fallback_calls: int
    in_flight: int
    consecutive_failures: int
    transitions: Mapping[State, int]
    last_failure_time: datetime | None
    last_success_time: datetime | None
    retry_time: datetime | None
    retry_after: float

    @property
    def state_changes(self) -> int:
        """Changes of state."""
        return sum(self.transitions.values())

    @property
    def success_rate(self) -> float:
        """The part of the calls that count which succeeded; 1.0 while there is none."""
        counted = self.successful_calls + self.failed_calls
        return self.successful_calls / counted if counted else 1.0


def to_json(snapshot: BreakerSnapshot) -> dict[str, Any]:
    """Returns the breaker for /metrics/circuit-breakers; times are ISO 8601 in UTC, null where there is none."""
    return {
        "state": snapshot.state,
        "provider": snapshot.provider,
        "success_rate": round(snapshot.success_rate, 6),
        "total_calls": snapshot.total_calls,
        "successful_calls": snapshot.successful_calls,
        "failed_calls": snapshot.failed_calls,
        "ignored_calls": snapshot.ignored_calls,
        "rejected_calls": snapshot.rejected_calls,
        "slow_calls": snapshot.slow_calls,
        "fallback_calls": snapshot.fallback_calls,
        "state_changes": snapshot.state_changes,
        "consecutive_failures": snapshot.consecutive_failures,
        "last_failure_time": _iso(snapshot.last_failure_time),
        "last_success_time": _iso(snapshot.last_success_time),
        "retry_time": _iso(snapshot.retry_time),
    }


def report(snapshots: Sequence[BreakerSnapshot]) -> dict[str, Any]:
    """Returns the page /metrics/circuit-breakers. A breaker is healthy while it is closed; so are all where all are."""
    healthy = sum(snapshot.state == "closed" for snapshot in snapshots)
    return {
        "healthy": healthy == len(snapshots),
        "total_breakers": len(snapshots),
        "healthy_breakers": healthy,
        "open_circuits": sum(snapshot.state == "open" for snapshot in snapshots),
        "metrics": {snapshot.name: to_json(snapshot) for snapshot in snapshots},
    }


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
