"""Circuit breakers as Prometheus sees them: read when it looks, so that nothing is kept twice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from servicekit.resilience.snapshot import STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from prometheus_client import Metric

    from servicekit.resilience.snapshot import BreakerSnapshot


OTHER: Final = "other"
"""Label of the circuits that are not listed."""

_Key: TypeAlias = tuple[str, str]


class CircuitCollector(Collector):
    """State, calls and transitions of each circuit.

    `circuit_breaker_state{circuit,state}` is 1 for the present one, `circuit_breaker_calls_total{circuit,outcome}`
    counts calls; `circuit_breaker_transitions_total{circuit,state}` the changes, by the state that was entered.
    Circuits whose names are not `listed` (None: all are) share the label "other", whose state is the number of them
    in each state, and whose counts are those of the circuits that are kept at present.
    """

    def __init__(
        self, snapshots: Callable[[], Sequence[BreakerSnapshot]], *, listed: Collection[str] | None = None
    ) -> None:
        self._snapshots = snapshots
        self._listed = listed

    def collect(self) -> Iterable[Metric]:
        """The present values."""
        state = GaugeMetricFamily("circuit_breaker_state", "1 for the present state", labels=("circuit", "state"))
        calls = CounterMetricFamily("circuit_breaker_calls", "Calls by outcome", labels=("circuit", "outcome"))
        transitions = CounterMetricFamily(
            "circuit_breaker_transitions", "Changes of state", labels=("circuit", "state")
        )
        states, counts, changes = Counter[_Key](), Counter[_Key](), Counter[_Key]()
        for snapshot in self._snapshots():
            name = snapshot.name if self._listed is None or snapshot.name in self._listed else OTHER
            for each in STATES:
                states[name, each] += snapshot.state == each
                changes[name, each] += snapshot.transitions.get(each, 0)
            counts[name, "success"] += snapshot.successful_calls
            counts[name, "failure"] += snapshot.failed_calls
            counts[name, "ignored"] += snapshot.ignored_calls
            counts[name, "rejected"] += snapshot.rejected_calls
            counts[name, "fallback"] += snapshot.fallback_calls
        for family, values in ((state, states), (calls, counts), (transitions, changes)):
            for labels, value in values.items():
                family.add_metric(labels, float(value))
        return (state, calls, transitions)

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are known without asking the breakers."""
        return ()
