"""Claims after storage was away: expired leases are held back until their runs had time to renew them."""

import pytest

from servicekit.errors import DomainError, unavailable
from standins.storage_kit import LEASE, SECOND, ManualClock
from storage_service.stories.absence import Absence


@pytest.fixture
def clock() -> ManualClock:
    """Storage's clock."""
    return ManualClock()


@pytest.fixture
def absence(clock: ManualClock) -> Absence:
    """That of a service which has served for a minute."""
    it = Absence(clock)
    clock.advance(60)
    return it


async def succeed() -> str:
    """A call that succeeds."""
    return "done"


async def found_nothing() -> str:
    """A claim of nothing."""
    return ""


async def fail() -> str:
    """A call to a store that is away."""
    raise unavailable("STORAGE_UNAVAILABLE", "The store cannot be used at the moment.")


async def failed(absence: Absence) -> None:
    """Observes a call that fails, as its caller sees it."""
    with pytest.raises(DomainError, match="STORAGE_UNAVAILABLE"):
        await absence.observe(fail())


def test_start_of_the_service_holds_back_for_three_seconds(clock: ManualClock) -> None:
    """Then leases that expired before are claimed."""
    absence = Absence(clock)
    clock.advance(60)
    absence.end()
    clock.advance(2.9)
    assert absence.holds_back(LEASE)
    clock.advance(0.1)
    assert not absence.holds_back(LEASE)


def test_short_leases_are_held_back_for_half_of_one(clock: ManualClock) -> None:
    """Runs renew them more often."""
    absence, lease = Absence(clock), 2 * SECOND
    clock.advance(0.9)
    assert absence.holds_back(lease)
    clock.advance(0.1)
    assert not absence.holds_back(lease)


async def test_result_of_a_call_is_passed_on(absence: Absence) -> None:
    """And a call that succeeds holds nothing back."""
    assert "done" == await absence.observe(succeed())
    assert not absence.holds_back(LEASE)


async def test_store_that_was_away_holds_back_until_three_seconds_after_its_return(
    absence: Absence, clock: ManualClock
) -> None:
    """The claim that finds it back gets no expired lease either."""
    await absence.observe(succeed())
    for _ in range(30):
        clock.advance(2)
        await failed(absence)
    clock.advance(2)
    assert absence.holds_back(LEASE)
    await absence.observe(succeed())
    clock.advance(2.9)
    assert absence.holds_back(LEASE)
    clock.advance(0.1)
    assert not absence.holds_back(LEASE)


async def test_store_that_can_be_read_is_not_back(absence: Absence, clock: ManualClock) -> None:
    """On a full disk a claim that finds nothing succeeds between checkpoints that fail."""
    for _ in range(5):
        clock.advance(2)
        await failed(absence)
        clock.advance(0.1)
        assert absence.holds_back(LEASE)
        await absence.observe(found_nothing())
    assert absence.holds_back(LEASE)


async def test_orphans_are_claimed_after_an_absence_in_which_no_run_was_at_work(
    absence: Absence, clock: ManualClock
) -> None:
    """Claims that find nothing but expired leases end the wait too."""
    clock.advance(60)
    await failed(absence)
    clock.advance(2.9)
    await absence.observe(found_nothing())
    assert absence.holds_back(LEASE)
    clock.advance(0.1)
    assert not absence.holds_back(LEASE)


async def test_single_failed_call_among_others_holds_nothing_back(absence: Absence, clock: ManualClock) -> None:
    """No lease expires within it."""
    await absence.observe(succeed())
    clock.advance(0.5)
    await failed(absence)
    await absence.observe(succeed())
    assert not absence.holds_back(LEASE)


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_clock_that_was_set_holds_back(absence: Absence, clock: ManualClock, seconds: int) -> None:
    """In both directions: leases seem to have expired, or to last for an hour."""
    assert not absence.holds_back(LEASE)
    clock.set_forward(seconds)
    assert absence.holds_back(LEASE)
    clock.advance(3)
    assert not absence.holds_back(LEASE)


def test_clock_that_is_adjusted_holds_nothing_back(absence: Absence, clock: ManualClock) -> None:
    """Less than a second at a time, however often."""
    for _ in range(10):
        clock.set_forward(0.5)
        clock.advance(2)
        assert not absence.holds_back(LEASE)
