"""From characters with times to words with times."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_service.audio.words import word_spans
from voice_service.elevenlabs.alignment import Alignment
from voice_service.elevenlabs.lines import TimedCharacters


def _timed(characters: str, start: float = 0.0, step: float = 0.1) -> TimedCharacters:
    starts = [start + place * step for place in range(len(characters))]
    return TimedCharacters(tuple(characters), tuple(starts), tuple(each + step for each in starts))


def _words(text: str, *timed: TimedCharacters) -> list[tuple[str, float, float]]:
    alignment = Alignment(text)
    for each in timed:
        alignment.add(each)
    return [
        (text[word.text_start : word.text_end], round(word.start, 3), round(word.end, 3)) for word in alignment.words()
    ]


def test_a_word_lasts_from_its_first_character_to_its_last() -> None:
    """Punctuation around it does not count."""
    assert [("Oh", 0.1, 0.3), ("the", 0.5, 0.8), ("fox", 0.9, 1.2)] == _words("“Oh, the fox!", _timed("“Oh, the fox!"))


def test_a_word_may_be_cut_between_two_lines() -> None:
    """And each line may begin with a space of its own."""
    assert [("One", 0.1, 0.4), ("morning", 0.5, 5.4)] == _words("One morning", _timed(" One mor"), _timed(" ning", 4.9))


def test_characters_may_come_as_several_code_points_and_in_another_case() -> None:
    """An accent of its own, or what was made of a capital."""
    timed = TimedCharacters(("e\u0301t", "É"), (0.0, 1.0), (1.0, 2.0))

    assert [("e\u0301té", 0.0, 2.0)] == _words("e\u0301té", timed)


def test_what_is_not_in_the_text_is_passed_over() -> None:
    """The words around it keep their times, and nobody says that the end is missing."""
    text = "He paid $5 and went home"
    alignment = Alignment(text)
    alignment.add(_timed("He paid ☃ and went"))

    assert ["He", "paid", "and", "went"] == [text[word.text_start : word.text_end] for word in alignment.words()]
    assert not alignment.stops_early


def test_words_without_times_are_left_out() -> None:
    """Times that are told still belong to the right words."""
    assert [("One", 0.0, 0.3), ("three", 2.0, 2.5)] == _words("One two three", _timed("One"), _timed("three", 2.0))


def test_times_that_go_back_are_put_in_order() -> None:
    """Words never overlap."""
    assert [("One", 1.0, 1.3), ("two", 1.3, 1.3)] == _words("One two", _timed("One", 1.0), _timed("two", 0.5))


def test_a_long_text_is_not_compared_with_what_is_not_it() -> None:
    """That would take long; no times are better."""
    text = "fox " * 1_000

    assert 1_000 == len(_words(text, _timed(text)))
    assert [] == _words(text, _timed(f"a{text}"))


@pytest.mark.parametrize(
    ("spoken", "early"),
    [
        ("The fox ran home.", False),
        ("The fox ran home", False),
        ("The fox ran ho", False),
        ("The fox ran ", True),
        ("The f", True),
        ("The ox", False),
        ("", False),
    ],
)
def test_a_text_whose_end_was_not_spoken_is_noticed(spoken: str, early: bool) -> None:
    """From three letters on, and only where what was spoken is the text."""
    alignment = Alignment("The fox ran home.")
    if spoken:
        alignment.add(_timed(spoken))

    assert early == alignment.stops_early


@given(st.text(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_a_text_that_is_spoken_as_it_stands_gives_times_for_every_word(text: str, cuts: list[int]) -> None:
    """However it is cut into lines."""
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    alignment = Alignment(text)
    for first, last in pairwise(places):
        alignment.add(_timed(text[first:last], first * 0.1))

    assert word_spans(text) == [(word.text_start, word.text_end) for word in alignment.words()]
    assert not alignment.stops_early
