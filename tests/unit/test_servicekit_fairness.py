"""Turns go round by owner."""

from servicekit.context import Caller, RequestContext, bound
from servicekit.resilience.fairness import FairTurns


def test_owner_that_comes_is_as_old_as_the_oldest() -> None:
    """Its tenth story is as old as the tenth of the other, not behind all of them."""
    turns = FairTurns()
    many = [turns.take("a") for _ in range(500)]
    for turn in many[:20]:
        turns.leave("a", turn)
    assert [20, 21, 22] == [turns.take("b") for _ in range(3)]
    assert 20 == turns.take("c")
    assert 500 == turns.take("a")


def test_one_owner_is_served_in_order_of_arrival() -> None:
    """Whatever ends meanwhile."""
    turns = FairTurns()
    taken = [turns.take("a") for _ in range(5)]
    turns.leave("a", taken[0])
    assert sorted(taken) == taken
    assert turns.take("a") > taken[-1]


def test_nothing_is_remembered_of_owners_that_are_done() -> None:
    """What is held is what is in progress."""
    turns = FairTurns()
    with bound(RequestContext("r", Caller("a"))), turns.held() as turn, turns.held() as next_turn:
        assert (0, 1) == (turn, next_turn)
    assert not turns._held
