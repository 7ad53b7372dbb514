"""Summaries that are derived from the text, where the model gave none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from story_service.answer.summary import MAX_DERIVED_LENGTH, derived_summary


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("", ""),
        ("Mia slept.", "Mia slept."),
        ("Mia met Mr. Bear.\n\nThey swam. They slept.", "Mia met Mr. Bear. They swam. They slept."),
        ("One. Two. Three. Four. Five. Six.", "One. Two. Five. Six."),
        ("Mia met Mr. Bear. Two.\n\nThree.\nFour.\n\nFive. Six.", "Mia met Mr. Bear. Two. Five. Six."),
    ],
)
def test_a_summary_is_how_the_story_begins_and_ends(text: str, summary: str) -> None:
    """Two sentences of either end, on one line."""
    assert summary == derived_summary(text)


def test_a_summary_in_russian_knows_its_abbreviations() -> None:
    """Sentences end as the language ends them."""
    text = "Мия жила в г. Москве. Шёл снег. Она гуляла. Она пела. Стало тихо. Мия уснула."  # noqa: RUF001 - Russian

    assert derived_summary(text, language_code="ru") == "Мия жила в г. Москве. Шёл снег. Стало тихо. Мия уснула."  # noqa: RUF001 - Russian


def test_of_a_long_story_only_the_edges_are_read() -> None:
    """No sentence that an edge cuts in two is in it."""
    text = "Mia set out. She took a boat. " + "The sea was wide and blue. " * 1_000 + "She came home. She slept."

    assert derived_summary(text) == "Mia set out. She took a boat. She came home. She slept."


@given(
    st.text(max_size=200) | st.builds(lambda word, times: word * times, st.text(min_size=1, max_size=9), st.just(900))
)
def test_a_summary_is_bounded(text: str) -> None:
    """Whatever the text, a summary is short and on one line."""
    summary = derived_summary(text)

    assert len(summary) <= MAX_DERIVED_LENGTH
    assert summary.split() == summary.split(" ") or not summary
    assert bool(summary) or not text.strip() or len(text) > 4_000
