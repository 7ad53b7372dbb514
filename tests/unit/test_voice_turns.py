"""Segments reach a provider in the order of the text."""

from voice_service.synthesis.flight import Turn


def _row(length: int) -> tuple[list[Turn], list[int]]:
    """Turns in a row, and the numbers of those that are due, in the order in which they became so."""
    turns, due = [Turn()], list[int]()
    while len(turns) < length:
        turns.append(turns[-1].following())
    for number, turn in enumerate(turns):
        turn.when_due(lambda number=number: due.append(number))  # type: ignore[misc] # bound early
    return turns, due


def test_the_first_turn_is_due_at_once() -> None:
    """And no other."""
    assert [0] == _row(3)[1]


def test_a_turn_is_due_once_all_before_it_have_passed_on() -> None:
    """Whatever the order in which they do."""
    turns, due = _row(4)
    turns[2].pass_on()
    turns[1].pass_on()
    before = list(due)
    turns[0].pass_on()

    assert [0] == before
    assert [0, 1, 2, 3] == due


def test_a_turn_that_passes_on_twice_passes_on_once() -> None:
    """Each is due once."""
    turns, due = _row(2)
    turns[0].pass_on()
    turns[0].pass_on()

    assert [0, 1] == due


def test_a_turn_behind_one_that_has_passed_on_is_due() -> None:
    """Also where it comes later; not where an earlier one has not."""
    first = Turn()
    first.pass_on()
    second = first.following()
    third = second.following()
    third.pass_on()
    due = list[int]()
    third.following().when_due(lambda: due.append(4))
    before = list(due)
    second.pass_on()

    assert [] == before
    assert [4] == due
