"""How fast models write."""

import pytest

from story_service.models.states import Paces


def test_pace_follows_what_is_seen_and_forgets_slowly() -> None:
    """Seconds for the 750 words of five minutes; a model that was not seen has none."""
    paces = Paces()
    assert paces.typical_seconds("a/b") is None

    paces.note("a/b", words=150, seconds=3)
    assert pytest.approx(15) == paces.typical_seconds("a/b")

    paces.note("a/b", words=150, seconds=6)
    assert pytest.approx(18) == paces.typical_seconds("a/b")


def test_nothing_is_learned_from_no_words() -> None:
    """An empty attempt has no pace."""
    paces = Paces()
    paces.note("a/b", words=0, seconds=3)

    assert paces.typical_seconds("a/b") is None


def test_of_too_many_models_those_seen_last_are_kept() -> None:
    """Any id may be asked for, so the memory has a bound."""
    paces = Paces()
    for number in range(300):
        paces.note(f"a/m{number}", words=1, seconds=1)

    assert paces.typical_seconds("a/m0") is None
    assert paces.typical_seconds("a/m299") is not None
