"""A circuit breaker, whatever happens in whatever order."""

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.circuits import Bench, provider_error

from servicekit.resilience.breaker import Call
from servicekit.resilience.errors import TREATMENTS, CircuitOpenError, ProviderErrorKind

THRESHOLD = 3
IGNORED = [kind for kind in ProviderErrorKind if not TREATMENTS[kind].break_circuit]
COUNTED = [kind for kind in ProviderErrorKind if TREATMENTS[kind].break_circuit]


@dataclass(slots=True)
class Flight:
    """A call on its way, and whether a half-open circuit let it through."""

    call: Call
    probe: bool


class Calls(RuleBasedStateMachine):
    """Calls begin, end in every way and in any order; time passes; providers ask for rest; operators reset."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(failure_threshold=THRESHOLD, minimum_calls=6, slow_call_seconds=5.0, jitter=0.5, random=0.5)
        self.flights: list[Flight] = []
        self.ended = {"success": 0, "failure": 0, "ignored": 0}
        self.rejected = 0
        self.asked_until = 0.0

    @rule(burst=st.integers(1, 50))
    def begin(self, burst: int) -> None:
        """So many calls at once: an open circuit lets none through, a half-open one the one that it has room for."""
        state = self.bench.breaker.state
        room = {"closed": burst, "open": 0, "half_open": 0 if any(each.probe for each in self.flights) else 1}[state]
        admitted, waits = 0, []
        for _ in range(burst):
            try:
                self.flights.append(Flight(self.bench.begin(), probe=state == "half_open"))
                admitted += 1
            except CircuitOpenError as error:
                self.rejected += 1
                waits.append(error.retry_after or 0.0)
        assert min(room, burst) == admitted
        assert all(wait > 0 for wait in waits)

    @rule(data=st.data(), kind=st.sampled_from(COUNTED))
    def fail(self, data: st.DataObject, kind: ProviderErrorKind) -> None:
        """One ends by the provider's fault."""
        if self.flights:
            flight = self._land(data)
            self.ended["failure"] += 1
            self.bench.end(flight.call, provider_error(kind))

    @rule(data=st.data(), answered=st.booleans())
    def succeed(self, data: st.DataObject, answered: bool) -> None:
        """One ends well, its first token marked or not."""
        if self.flights:
            flight = self._land(data)
            self.ended["success"] += 1
            if answered:
                flight.call.answered()
            self.bench.end(flight.call)

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """The first token of one comes: it is a probe no more, and closed is what a probe that was in time leaves."""
        if self.flights:
            flight = data.draw(st.sampled_from(self.flights))
            was_probe, flight.probe = flight.probe and flight.call.answered_at is None, False
            slow = self.bench.clock() - flight.call.began >= 5.0
            half_open = self.bench.breaker.state == "half_open"
            current = flight.call.epoch == self.bench.breaker._epoch
            flight.call.answered()
            if was_probe and half_open and current:
                assert ("open" if slow else "closed") == self.bench.breaker.state

    @rule(data=st.data(), error=st.sampled_from([asyncio.CancelledError, GeneratorExit, ValueError, *IGNORED]))
    def ignore(self, data: st.DataObject, error: type[BaseException] | ProviderErrorKind) -> None:
        """One is cancelled or refused: that alone changes no state."""
        if self.flights:
            flight = self._land(data)
            self.ended["ignored"] += 1
            before = self.bench.breaker.state
            self.bench.end(flight.call, provider_error(error) if isinstance(error, ProviderErrorKind) else error())
            assert before == self.bench.breaker.state

    @rule(data=st.data(), seconds=st.floats(0.1, 5000))
    def rate_limited(self, data: st.DataObject, seconds: float) -> None:
        """One is told to come back later."""
        if self.flights:
            flight = self._land(data)
            self.ended["ignored"] += 1
            self.bench.end(flight.call, provider_error(ProviderErrorKind.RATE, retry_after=seconds))
            self._asked(seconds)

    @rule(seconds=st.floats(0.1, 5000))
    def open_until(self, seconds: float) -> None:
        """The provider asks for rest by other means."""
        self.bench.breaker.open_until(seconds)
        self._asked(seconds)

    @rule(seconds=st.one_of(st.floats(0, 10), st.floats(10, 1000)))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.bench.clock.advance(seconds)

    @rule()
    def reset(self) -> None:
        """An operator closes it."""
        self.bench.breaker.reset()
        self.asked_until = 0.0
        assert "closed" == self.bench.breaker.state

    @invariant()
    def one_probe_at_most(self) -> None:
        """Never is more than one half-open permit out."""
        assert sum(each.probe for each in self.flights) <= 1

    @invariant()
    def rest_is_kept(self) -> None:
        """Until the longest time that a provider asked for is over, the circuit is open."""
        if self.bench.clock() < self.asked_until:
            assert "open" == self.bench.breaker.state

    @invariant()
    def counters_add_up(self) -> None:
        """What went in came out, or is on its way."""
        told = self.bench.breaker.snapshot()
        assert (self.ended["success"], self.ended["failure"], self.ended["ignored"], self.rejected) == (
            told.successful_calls,
            told.failed_calls,
            told.ignored_calls,
            told.rejected_calls,
        )
        assert sum(self.ended.values()) + len(self.flights) == told.total_calls
        assert len(self.flights) == told.in_flight
        assert len(self.bench.changes) == told.state_changes

    @invariant()
    def changes_are_those_that_may_be(self) -> None:
        """Each begins where the last one ended; from open it goes to half-open, or closes by hand."""
        ends = ["closed", *(after for _, after in self.bench.changes)]
        assert ends[:-1] == [before for before, _ in self.bench.changes]
        assert all(before != after for before, after in self.bench.changes)
        assert ("closed", "half_open") not in self.bench.changes

    @invariant()
    def open_ends(self) -> None:
        """No wait is longer than what can be asked for."""
        assert 0 <= self.bench.breaker.retry_after <= 3600.001

    def _land(self, data: st.DataObject) -> Flight:
        return self.flights.pop(data.draw(st.integers(0, len(self.flights) - 1)))

    def _asked(self, seconds: float) -> None:
        self.asked_until = max(self.asked_until, self.bench.clock() + min(seconds, 3600.0))


class Unblamed(RuleBasedStateMachine):
    """A provider that does nothing wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(failure_threshold=1, minimum_calls=1, failure_rate=0.01)

    @rule(kind=st.sampled_from(IGNORED), times=st.integers(1, 30))
    def refused(self, kind: ProviderErrorKind, times: int) -> None:
        """It refuses what it is asked."""
        for _ in range(times):
            self.bench.call(provider_error(kind))

    @rule(error=st.sampled_from([asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, KeyError]))
    def given_up(self, error: type[BaseException]) -> None:
        """Its caller goes away, or is wrong."""
        self.bench.call(error())

    @rule()
    def fine(self) -> None:
        """It does what it is asked."""
        self.bench.call()

    @invariant()
    def closed(self) -> None:
        """Nothing of that ever opens a circuit."""
        assert ("closed", []) == (self.bench.breaker.state, self.bench.changes)


@pytest.mark.parametrize("machine", [Calls, Unblamed])
def test_whatever_happens_the_rules_hold(machine: type[RuleBasedStateMachine]) -> None:
    """Hypothesis looks for an order of events that breaks an invariant."""
    case = machine.TestCase
    case.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
    case("runTest").runTest()
