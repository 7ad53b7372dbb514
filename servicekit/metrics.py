"""Metrics of one process for Prometheus: a registry of its own, labels with bounds."""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from servicekit.resilience.breaker import STATES
from servicekit.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from prometheus_client import Metric

    from servicekit.resilience.breaker import BreakerSnapshot


OTHER: Final = "other"
"""Label of all values beyond the bound."""

_MOST_METHODS: Final = 200
_RPC_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_RPC_LABELS: Final = ("grpc_service", "grpc_method", "grpc_code")


Values: TypeAlias = "Callable[[], Mapping[tuple[str, ...], float]]"
"""Returns the present values of a gauge, by those of its labels."""


class Labels:
    """The values of one label: the first `most` are themselves, all others "other"."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, value: str) -> str:
        """Returns the label for `value`."""
        if value not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(value)
        return value


@dataclass(frozen=True, slots=True)
class Described:
    """A metric as the reference describes it; `name` as Prometheus stores it, without a histogram's suffix."""

    name: str
    kind: str
    labels: tuple[str, ...]
    documentation: str


class Metrics:
    """The metrics of one process; one object a server.

    It has the process, the Python runtime and the RPCs. A service adds its own by `counter`, `histogram`, `gauge` and
    `read`, and takes label values that come from outside through `labels`, so that they cannot fill the memory.
    """

    def __init__(self) -> None:
        # For the whole process: each counter and histogram would have a second series with the time of its creation.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry: Final = CollectorRegistry()
        self.described: Final[list[Described]] = []
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._calls = self.counter("grpc_server_handled", "RPCs that ended, by method and code", _RPC_LABELS)
        self._seconds = self.histogram(
            "grpc_server_handling_seconds", "Seconds that RPCs took to their end", _RPC_LABELS, buckets=_RPC_SECONDS
        )
        self.overloaded: Final = self.counter("grpc_server_overloaded", "RPCs refused since the server was full")
        self._build = self.gauge("tale_build_info", "1, by service and version", ("service", "version"))
        self._methods = self.labels(_MOST_METHODS)
        self._children: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """Returns a counter; it is shown as `name`_total."""
        self._describe(f"{name}_total", "counter", labels, documentation)
        return Counter(name, documentation, labels, registry=self.registry)

    def histogram(
        self, name: str, documentation: str, labels: Sequence[str] = (), *, buckets: Sequence[float]
    ) -> Histogram:
        """Returns a histogram with the upper bounds given."""
        self._describe(name, "histogram", labels, documentation)
        return Histogram(name, documentation, labels, registry=self.registry, buckets=buckets)

    def gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        """Returns a gauge."""
        self._describe(name, "gauge", labels, documentation)
        return Gauge(name, documentation, labels, registry=self.registry)

    def read(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        values: Values,
    ) -> None:
        """Shows a gauge whose `values`, by those of its labels, are read at each scrape."""
        self._describe(name, "gauge", labels, documentation)
        self.registry.register(ReadCollector(name, documentation, labels, values))

    def labels(self, most: int) -> Labels:
        """Returns the values of a label that come from outside, at most `most`."""
        return Labels(most)

    def show_circuits(
        self, snapshots: Callable[[], Sequence[BreakerSnapshot]], *, listed: Collection[str] | None = None
    ) -> None:
        """Shows the state, the calls and the transitions of circuit breakers, read at each scrape. Once a process.

        Those whose names are not `listed` (None: all are) are shown together, as "other".
        """
        for name, kind, labels, documentation in _CIRCUITS:
            self._describe(f"{name}_total" if kind == "counter" else name, kind, labels, documentation)
        self.registry.register(CircuitCollector(snapshots, listed=listed))

    def serves(self, service: str) -> None:
        """Shows the name and the version of the service."""
        self._build.labels(service, VERSION).set(1)

    def rpc(self, method: str, code: str, seconds: float, *, known: bool) -> None:
        """Counts an RPC that has ended.

        `method` is "/package.Service/Method"; where the server has no such one, `known` is False and it is "other".
        """
        label = self._methods.of(method) if known else OTHER
        pair = self._children.get((label, code))
        if pair is None:
            service, _, name = label.strip("/").rpartition("/")
            values = (service or OTHER, name, code)
            pair = self._calls.labels(*values), self._seconds.labels(*values)
            self._children[label, code] = pair
        pair[0].inc()
        pair[1].observe(seconds)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Returns all metrics in the format that the scraper's Accept header asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _describe(self, name: str, kind: str, labels: Sequence[str], documentation: str) -> None:
        self.described.append(Described(name, kind, tuple(labels), documentation))


class ReadCollector(Collector):
    """One gauge, read at each scrape."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        values: Values,
    ) -> None:
        self._head = (name, documentation)
        self._labels = labels
        self._values = values

    def collect(self) -> Iterable[Metric]:
        """Returns the present values."""
        family = GaugeMetricFamily(*self._head, labels=self._labels)
        for labels, value in self._values().items():
            family.add_metric(labels, float(value))
        return (family,)

    def describe(self) -> Iterable[Metric]:
        """Returns the name alone: what is read may not be there yet."""
        return (GaugeMetricFamily(*self._head, labels=self._labels),)


_CIRCUITS: Final = (
    (
        "circuit_breaker_state",
        "gauge",
        ("circuit", "state"),
        "1 for the present state, 0 for the others",
    ),
    (
        "circuit_breaker_calls",
        "counter",
        ("circuit", "outcome"),
        "Calls, by how they ended",
    ),
    ("circuit_breaker_transitions", "counter", ("circuit", "state"), "Changes, by the state that was entered"),
)
_Circuit: TypeAlias = tuple[str, str]


class CircuitCollector(Collector):
    """State, calls and transitions of each circuit.

    `circuit_breaker_state{circuit,state}` is 1 for the present one, `circuit_breaker_calls_total{circuit,outcome}`
    counts calls; `circuit_breaker_transitions_total{circuit,state}` the changes, by the state that was entered.
    Circuits whose names are not `listed` (None: all are) share the label "other", whose state is the number of them
    in each state, and whose counts are those of the circuits that exist at present.
    """

    def __init__(
        self, snapshots: Callable[[], Sequence[BreakerSnapshot]], *, listed: Collection[str] | None = None
    ) -> None:
        self._snapshots = snapshots
        self._listed = listed

    def collect(self) -> Iterable[Metric]:
        """Returns the present values."""
        state, calls, transitions = (
            (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, documentation, labels=labels)
            for name, kind, labels, documentation in _CIRCUITS
        )
        states, counts, changes = Tally[_Circuit](), Tally[_Circuit](), Tally[_Circuit]()
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
        """Returns nothing: the names are known without the breakers."""
        return ()
