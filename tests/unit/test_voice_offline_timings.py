"""From an engine's marks to the times of words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_service.audio.words import word_timings
from voice_service.providers.offline.espeak import speakable


def spoken(text: str, marks: list[tuple[int, float]], duration: float) -> list[tuple[str, float, float]]:
    """Words with their times."""
    return [
        (text[word.text_start : word.text_end], word.start, word.end) for word in word_timings(text, marks, duration)
    ]


def test_word_begins_at_its_mark_and_ends_at_the_next() -> None:
    """Marks on every word are taken as they are."""
    assert [("Good", 0.0, 0.5), ("night", 0.5, 1.0), ("Mia", 1.0, 1.5)] == spoken(
        "Good night, Mia.", [(0, 0.0), (5, 0.5), (12, 1.0)], 1.5
    )


def test_words_without_a_mark_share_the_time_around_them() -> None:
    """espeak-ng says "out of the" in one go and marks "out" alone."""
    assert [("out", 0.0, 0.4), ("of", 0.4, 0.7), ("it", 0.7, 1.0), ("now", 1.0, 2.0)] == spoken(
        "out of it now", [(0, 0.0), (10, 1.0)], 2.0
    )


def test_word_with_several_marks_begins_at_the_first() -> None:
    """The parts of a number are one word."""
    assert [("3:30", 0.0, 1.0), ("now", 1.0, 1.5)] == spoken("3:30 now", [(0, 0.0), (2, 0.6), (5, 1.0)], 1.5)


def test_script_without_spaces_is_parted_by_the_marks() -> None:
    """Chinese has words where the engine found them."""
    assert [("小女", 0.0, 0.4), ("孩", 0.4, 0.8), ("睡", 0.8, 1.0)] == spoken(
        "小女孩。睡", [(0, 0.0), (2, 0.4), (4, 0.8)], 1.0
    )


def test_marks_on_spaces_and_outside_the_text_are_left_out() -> None:
    """An emoji's name may mark the space behind it."""
    assert [("🐲", 0.0, 0.9), ("в", 0.9, 1.2)] == spoken(
        "🐲 в", [(-1, 0.0), (0, 0.0), (1, 0.3), (2, 0.9), (9, 1.0)], 1.2
    )


def test_text_without_words_has_no_timings() -> None:
    """Punctuation is not timed."""
    assert [] == spoken("— ...", [(0, 0.0)], 0.4)


@given(
    st.text(max_size=40),
    st.lists(st.tuples(st.integers(-3, 50), st.floats(0, 100, allow_nan=False)), max_size=20),
    st.floats(0, 50, allow_nan=False),
)
def test_times_never_go_backwards(text: str, marks: list[tuple[int, float]], duration: float) -> None:
    """Whatever an engine reports, words are in order, apart, within the text and within the sound."""
    words = word_timings(text, marks, duration)
    times = [moment for word in words for moment in (word.start, word.end)]
    places = [place for word in words for place in (word.text_start, word.text_end)]

    assert sorted(times) == times
    assert sorted(places) == places
    assert all(0 <= moment <= duration for moment in times)
    assert all(word.text_start < word.text_end <= len(text) for word in words)


@given(st.text(alphabet=st.characters(), max_size=60))
def test_speakable_text_keeps_its_length(text: str) -> None:
    """What an engine would take for a command becomes a space, so that spans stay where they are."""
    clean = speakable(text)

    assert len(text) == len(clean)
    assert clean.encode().decode() == clean
    assert not any(character < " " and character != "\n" for character in clean)


@pytest.mark.parametrize(
    "text", ["Hello 🐉, don't!\n\nAgain.", "Жил-был ёжик и\u0306", "<break time='5s'/> [[h@l'oU]] &amp;"]
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    """Letters, marks, emoji and markup are text."""
    assert text == speakable(text)
