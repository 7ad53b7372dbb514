"""Bad weather for a whole cluster with the timers of production: it costs time, and never a story.

Everything is counted from the records of the stories and the journal of the upstreams; nothing is timed but what is
promised in seconds.
"""

from pathlib import Path

import pytest
from support.circuit_stores import redis_server

from standins.callers import READY
from standins.houses import LIFTED
from standins.weather import MODEL_WINDOW, clocks_jump, disk_full, logs_full, outage, storage_away, storm, takeover

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


async def test_storm_costs_no_story() -> None:
    """A fifth of all calls fails for 300 stories at once; they are made nearly as well as without faults."""
    calm, stormy = await storm(stories=300, seconds=500, settings=LIFTED)
    assert {READY: 300} == calm.ends
    assert {READY: 300} == stormy.ends
    assert stormy.failed > 0.1 * stormy.calls
    assert not stormy.wrong
    assert not stormy.doubled
    assert not stormy.started
    assert stormy.attempts >= stormy.calls
    assert stormy.calls <= 1.35 * stormy.needed
    assert calm.calls == calm.needed


async def test_storm_with_five_voice_places_costs_no_story() -> None:
    """The same with the limits of outgoing calls at their defaults."""
    _, stormy = await storm(stories=60, seconds=500)
    assert {READY: 60} == stormy.ends
    assert stormy.is_sound
    assert stormy.attempts >= stormy.calls
    assert stormy.calls <= 1.35 * stormy.needed


async def test_outage_is_waited_out() -> None:
    """Texts and narrations wait for the providers, which get one probe a window."""
    it = await outage(stories=20, down_seconds=75, seconds=200)
    assert {READY: 40} == it.facts.ends
    assert it.facts.is_sound
    assert it.most_model_calls <= 1
    assert it.most_voice_calls <= 1
    assert it.back_after < 2 * MODEL_WINDOW


async def test_replicas_that_share_circuits_make_one_probe_a_window(tmp_path: Path) -> None:
    """Three story services and three voice services, whose stories wait in all of them."""
    replicas = {"story": 3, "voice": 3}
    async with redis_server(tmp_path) as url:
        it = await outage(
            stories=20, down_seconds=75, seconds=200, settings={"CIRCUIT_STORE_URL": url}, replicas=replicas
        )
    assert {READY: 40} == it.facts.ends
    assert it.facts.is_sound
    assert it.most_model_calls <= 1
    assert it.most_voice_calls <= 1


async def test_killed_gateway_is_taken_over_within_ten_seconds() -> None:
    """Listeners at either gateway hear on, and no story is made again."""
    facts, silences = await takeover(stories=12, seconds=200)
    assert {READY: 12} == facts.ends
    assert facts.is_sound
    assert max(silences) <= 10


async def test_storage_away_costs_no_text_and_no_segment() -> None:
    """What was paid before and while storage was away is stored when it is back."""
    facts = await storage_away(stories=20, away_seconds=60, seconds=200)
    assert {READY: 20} == facts.ends
    assert facts.is_sound
    assert not facts.paid_twice


async def test_full_disk_costs_no_story() -> None:
    """Stories wait until there is room again; deleting one is what makes room."""
    facts, deleted = await disk_full(stories=12, full_seconds=15, seconds=200)
    assert {READY: 12} == facts.ends
    assert facts.is_sound
    assert not facts.paid_twice
    assert {"deleted": 3} == deleted


async def test_log_that_cannot_be_written_costs_no_story() -> None:
    """A full disk under the logs of all services."""
    facts = await logs_full(stories=10, seconds=200)
    assert {READY: 10} == facts.ends
    assert facts.calls == facts.needed


async def test_clock_of_storage_that_jumps_costs_no_story() -> None:
    """All leases expire at once an hour ahead: at most the calls in flight are repeated."""
    facts = await clocks_jump(["storage"], ["+1h", "-1h", "+0"], stories=12, seconds=200)
    assert {READY: 12} == facts.ends
    assert facts.is_sound
    assert facts.calls - facts.needed <= facts.journal["most_in_flight"]


async def test_clocks_of_other_services_that_jump_cost_no_call() -> None:
    """The age of a run is counted by storage alone."""
    facts = await clocks_jump(["gateway", "story", "voice"], ["+45m", "-2h"], stories=12, seconds=200)
    assert {READY: 12} == facts.ends
    assert facts.is_sound
    assert facts.calls == facts.needed
