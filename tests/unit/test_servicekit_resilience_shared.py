"""Circuit breakers that replicas share: what one decides the others adopt, and one of them probes."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.circuit_stores import MemoryCircuits
from support.circuits import FakeClock, provider_error

from servicekit.resilience.breaker import CircuitBreaker
from servicekit.resilience.circuit_queue import waiting_for
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.errors import CircuitOpenError, ProviderErrorKind
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.shared import SharedCircuits

WINDOW = 60.0
NAME = "demo:model"


class Replicas:
    """Replicas of a service on one clock, over one store; without jitter."""

    def __init__(self, count: int) -> None:
        self.clock = FakeClock()
        self.store = MemoryCircuits(self.clock)
        self.managers = [self._manager() for _ in range(count)]
        self.sharers = [SharedCircuits(self.store, each, clock=self.clock) for each in self.managers]
        for manager, sharer in zip(self.managers, self.sharers, strict=True):
            manager.probe_wait = sharer.probe_wait

    @property
    def breakers(self) -> list[CircuitBreaker]:
        """The circuit of each replica."""
        return [manager.get(NAME, provider="demo") for manager in self.managers]

    @property
    def states(self) -> list[str]:
        """The state of each replica's circuit."""
        return [breaker.state for breaker in self.breakers]

    async def exchange(self) -> None:
        """Each replica reads and publishes, twice: what one publishes last, the first reads then."""
        for sharer in [*self.sharers, *self.sharers]:
            await sharer.exchange()
        await asyncio.sleep(0)

    async def settled(self) -> None:
        """Claims have been answered."""
        for _ in range(10):
            await asyncio.sleep(0)

    def _manager(self) -> BreakerManager:
        def config(name: str) -> BreakerConfig:
            return BreakerConfig(name=name, failure_threshold=3, recovery_timeout=WINDOW, jitter=0.0)

        return BreakerManager(config, clock=self.clock, now=self.clock.now, random=lambda: 0.0)


def fail(breaker: CircuitBreaker, times: int = 3, **error: Any) -> None:
    """So many failures, one after the other."""
    for _ in range(times):
        end(breaker, **error)


def end(breaker: CircuitBreaker, kind: ProviderErrorKind = ProviderErrorKind.TIMEOUT, **error: Any) -> None:
    """One call that fails."""
    call = breaker.call().__enter__()
    failure = provider_error(kind, **error)
    call.__exit__(type(failure), failure, None)


async def probed(replicas: Replicas, number: int) -> None:
    """The replica of that number wins the probe and makes it, with success."""
    with waiting_for([replicas.breakers[number]]):
        await replicas.settled()
        with replicas.breakers[number].call() as call:
            call.answered()


async def test_open_circuit_is_adopted_by_all_replicas() -> None:
    """With what is left of its window, and why it is open; a replica that never called it has it too."""
    replicas = Replicas(3)
    fail(replicas.breakers[0])
    replicas.clock.advance(20.0)
    await replicas.exchange()

    assert ["open"] * 3 == replicas.states
    assert [WINDOW - 20.0] * 3 == [breaker.retry_after for breaker in replicas.breakers]
    assert {ProviderErrorKind.TIMEOUT} == {breaker.cause for breaker in replicas.breakers}
    assert {"demo"} == {breaker.provider for breaker in replicas.breakers}


async def test_pause_of_a_provider_is_adopted_and_ends_with_a_probe() -> None:
    """A quota that is used up is so for every replica."""
    replicas = Replicas(2)
    end(replicas.breakers[1], ProviderErrorKind.QUOTA, retry_after=90.0)
    await replicas.exchange()
    assert ["open"] * 2 == replicas.states
    assert ProviderErrorKind.QUOTA is replicas.breakers[0].cause

    replicas.clock.advance(91.0)
    await replicas.exchange()
    assert ["half_open"] * 2 == replicas.states
    await probed(replicas, 0)
    await replicas.exchange()
    assert ["closed"] * 2 == replicas.states


async def test_longer_pause_is_adopted() -> None:
    """A provider that names a later time, while the circuit is open."""
    replicas = Replicas(2)
    end(replicas.breakers[0], ProviderErrorKind.QUOTA, retry_after=90.0)
    await replicas.exchange()
    replicas.breakers[0].open_until(300.0, ProviderErrorKind.QUOTA)
    await replicas.exchange()
    assert [300.0] * 2 == [breaker.retry_after for breaker in replicas.breakers]


async def test_one_replica_probes_a_window() -> None:
    """Callers of all replicas wait; one call passes, in one of them."""
    replicas = Replicas(4)
    fail(replicas.breakers[0])
    await replicas.exchange()
    for _ in range(3):
        replicas.clock.advance(WINDOW + 1)
        passed = 0
        for _ in range(5):
            await replicas.exchange()
            for breaker in replicas.breakers:
                try:
                    end(breaker)
                except CircuitOpenError:
                    continue
                passed += 1
        assert 1 == passed
    assert 3 == len(replicas.store.claims)


async def test_circuit_that_a_probe_closed_is_closed_everywhere() -> None:
    """Also where a call waits for it, which is woken."""
    replicas = Replicas(2)
    fail(replicas.breakers[0])
    await replicas.exchange()
    replicas.clock.advance(WINDOW + 1)
    await replicas.exchange()
    assert ["half_open"] * 2 == replicas.states

    with waiting_for([replicas.breakers[0]], probes=False) as waiter:
        await probed(replicas, 1)
        assert ["half_open", "closed"] == replicas.states
        await replicas.exchange()
        assert replicas.breakers[0] is await waiter.turn(1.0)
    assert ["closed"] * 2 == replicas.states


async def test_failed_probe_opens_the_circuit_everywhere() -> None:
    """For another window."""
    replicas = Replicas(2)
    fail(replicas.breakers[0])
    await replicas.exchange()
    replicas.clock.advance(WINDOW + 1)
    with waiting_for([replicas.breakers[1]]):
        await replicas.settled()
        end(replicas.breakers[1])
    await replicas.exchange()
    assert ["open"] * 2 == replicas.states
    assert [WINDOW] * 2 == [breaker.retry_after for breaker in replicas.breakers]


async def test_probe_that_is_not_made_passes_to_another_replica() -> None:
    """Its caller left; a caller of another replica need not wait for a whole window."""
    replicas = Replicas(2)
    fail(replicas.breakers[0])
    await replicas.exchange()
    replicas.clock.advance(WINDOW + 1)
    with waiting_for([replicas.breakers[0]]):
        await replicas.settled()
    replicas.clock.advance(3.0)
    await replicas.exchange()

    await probed(replicas, 1)
    assert 2 == len(replicas.store.claims)
    assert "closed" == replicas.breakers[1].state


async def test_replica_that_did_not_win_the_probe_asks_again_after_a_while() -> None:
    """However many calls wait or are refused meanwhile."""
    replicas = Replicas(2)
    fail(replicas.breakers[0])
    await replicas.exchange()
    replicas.clock.advance(WINDOW + 1)
    with waiting_for([replicas.breakers[0]]), waiting_for([replicas.breakers[1]]):
        await replicas.settled()
        for _ in range(5):
            with pytest.raises(CircuitOpenError):
                end(replicas.breakers[1])
            await replicas.settled()
        assert 2 == replicas.store.asked
        replicas.clock.advance(0.5)
        with pytest.raises(CircuitOpenError):
            end(replicas.breakers[1])
        await replicas.settled()
    assert 3 == replicas.store.asked
    assert 1 == len(replicas.store.claims)


async def test_metrics_claim_no_probe() -> None:
    """Reading the state is no call."""
    replicas = Replicas(1)
    fail(replicas.breakers[0])
    replicas.clock.advance(WINDOW + 1)
    await replicas.exchange()
    assert "half_open" == replicas.breakers[0].snapshot().state
    await replicas.settled()
    assert [] == replicas.store.claims


async def test_circuit_reset_by_hand_is_closed_everywhere() -> None:
    """A reset reaches one replica at least."""
    replicas = Replicas(3)
    fail(replicas.breakers[0])
    await replicas.exchange()
    replicas.managers[2].reset(NAME)
    await replicas.exchange()
    assert ["closed"] * 3 == replicas.states


async def test_closing_of_another_replica_does_not_close_what_opened_here_since() -> None:
    """Its probe succeeded before; the newer opening is published and adopted by all."""
    replicas = Replicas(2)
    fail(replicas.breakers[1])
    await replicas.sharers[1].exchange()
    replicas.breakers[1].reset()
    await replicas.sharers[1].exchange()
    fail(replicas.breakers[0])
    await replicas.sharers[0].exchange()
    assert "open" == replicas.states[0]

    await replicas.exchange()
    assert ["open"] * 2 == replicas.states
    replicas.breakers[1].reset()
    await replicas.exchange()
    assert ["closed"] * 2 == replicas.states


async def test_circuit_that_both_opened_at_once_is_closed_by_one() -> None:
    """Each had found out by itself."""
    replicas = Replicas(2)
    for breaker in replicas.breakers:
        fail(breaker)
    await replicas.exchange()
    replicas.clock.advance(WINDOW)
    await probed(replicas, 0)
    await replicas.exchange()
    assert ["closed"] * 2 == replicas.states


async def test_replica_that_starts_later_adopts_what_is_open() -> None:
    """And a circuit whose window is over is half-open there, not closed."""
    replicas = Replicas(2)
    fail(replicas.breakers[0])
    await replicas.sharers[0].exchange()
    replicas.clock.advance(WINDOW + 1)
    await replicas.exchange()
    assert ["half_open"] * 2 == replicas.states


async def test_store_that_is_away_changes_nothing() -> None:
    """One warning; each replica decides alone, probes included, and what it decided is published afterwards."""
    replicas = Replicas(2)
    replicas.store.away = True
    fail(replicas.breakers[0])
    with capture_logs() as logs:
        await replicas.exchange()
    assert ["open", "closed"] == replicas.states
    assert ["circuits not shared"] * 2 == [line["event"] for line in logs if line["log_level"] == "warning"]

    replicas.clock.advance(WINDOW + 1)
    end(replicas.breakers[0])
    assert ["open", "closed"] == replicas.states

    replicas.store.away = False
    with capture_logs() as logs:
        await replicas.exchange()
    assert ["circuits shared again"] * 2 == [line["event"] for line in logs if "shared again" in line["event"]]
    assert ["open"] * 2 == replicas.states


async def test_claim_without_answer_lets_the_replica_probe() -> None:
    """The store went away after the last exchange."""
    replicas = Replicas(1)
    fail(replicas.breakers[0])
    await replicas.exchange()
    replicas.clock.advance(WINDOW + 1)
    await replicas.exchange()
    replicas.store.away = True
    with waiting_for([replicas.breakers[0]]) as waiter:
        await replicas.settled()
        assert await waiter.turn(1.0) is not None
        end(replicas.breakers[0])
    assert ["open"] == replicas.states
    with capture_logs() as logs:
        await replicas.exchange()
    assert ["circuits not shared"] == [line["event"] for line in logs]


async def test_call_that_has_to_wait_for_the_claim_is_refused_as_by_an_open_circuit() -> None:
    """With a wait of less than a second."""
    replicas = Replicas(1)
    fail(replicas.breakers[0])
    await replicas.exchange()
    replicas.clock.advance(WINDOW + 1)
    with pytest.raises(CircuitOpenError) as caught:
        end(replicas.breakers[0])
    assert 0 < (caught.value.retry_after or 0) < 1
    await replicas.settled()
    end(replicas.breakers[0])
