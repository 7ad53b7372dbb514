"""Circuit breakers as Prometheus sees them: read when it looks, so that nothing is kept twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from servicekit.resilience.snapshot import STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client import Metric

    from servicekit.resilience.snapshot import BreakerSnapshot


class CircuitCollector(Collector):
    """State, calls and transitions of each circuit.

    `circuit_breaker_state{circuit,state}` is 1 for the present one, `circuit_breaker_calls_total{circuit,outcome}`
    counts calls; `circuit_breaker_transitions_total{circuit,state}` the changes, by the state that was entered.
    """

    def __init__(self, snapshots: Callable[[], Sequence[BreakerSnapshot]]) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterable[Metric]:
        """The present values."""
        state = GaugeMetricFamily("circuit_breaker_state", "1 for the present state", labels=("circuit", "state"))
        calls = CounterMetricFamily("circuit_breaker_calls", "Calls by outcome", labels=("circuit", "outcome"))
        transitions = CounterMetricFamily(
            "circuit_breaker_transitions", "Changes of state", labels=("circuit", "state")
        )
        for snapshot in self._snapshots():
            for each in STATES:
                state.add_metric((snapshot.name, each), float(snapshot.state == each))
                transitions.add_metric((snapshot.name, each), snapshot.transitions.get(each, 0))
            for outcome, count in (
                ("success", snapshot.successful_calls),
                ("failure", snapshot.failed_calls),
                ("ignored", snapshot.ignored_calls),
                ("rejected", snapshot.rejected_calls),
                ("fallback", snapshot.fallback_calls),
            ):
                calls.add_metric((snapshot.name, outcome), count)
        return (state, calls, transitions)

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are known without asking the breakers."""
        return ()
