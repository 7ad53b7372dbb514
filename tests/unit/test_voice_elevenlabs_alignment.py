"""From characters with times to words with times."""

from difflib import SequenceMatcher
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_service.audio.words import word_spans
from voice_service.providers.elevenlabs.answers import Alignment, TimedCharacters


def _timed(characters: str, start: float = 0.0, step: float = 0.1) -> TimedCharacters:
    starts = [start + place * step for place in range(len(characters))]
    return TimedCharacters(tuple(characters), tuple(starts), tuple(each + step for each in starts))


def _words(text: str, *timed: TimedCharacters) -> list[tuple[str, float, float]]:
    said = Alignment(text)
    for each in timed:
        said.add(each)
    return [(text[word.text_start : word.text_end], round(word.start, 3), round(word.end, 3)) for word in said.words()]


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


@pytest.mark.parametrize("place", [0, 40, 4_000])
def test_one_thing_that_is_not_in_a_long_text_costs_its_place_alone(place: int) -> None:
    """What is before and behind it is the text."""
    text = "fox " * 1_000

    assert 1_000 == len(_words(text, _timed(f"{text[:place]}☃{text[place:]}")))


def test_little_is_compared_with_what_is_not_the_text() -> None:
    """Comparing takes time with the third power; the words between are left out, those around keep their times."""
    between = "fox " * 100
    text = f"One morning {between} went home."
    spoken = f"One morning {between.replace('fox', 'x')} went home."

    assert ["One", "morning", "went", "home"] == [word for word, *_ in _words(text, _timed(spoken))]


def test_no_more_is_compared_than_takes_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait for the lock of the interpreter meanwhile."""
    compared: list[int] = []

    class Counted(SequenceMatcher[str]):
        def __init__(self, junk: None, first: list[str], second: list[str], *, autojunk: bool) -> None:
            compared.append(max(len(first), len(second)))
            super().__init__(junk, first, second, autojunk=autojunk)

    monkeypatch.setattr("voice_service.providers.elevenlabs.answers.SequenceMatcher", Counted)
    for letters in (10, 100, 990):
        text, spoken = "ab" * letters, "x" + "ba" * letters + "x"
        _words(text, _timed(spoken))

    assert compared
    assert max(compared) <= 100


@pytest.mark.parametrize(
    ("text", "spoken", "early"),
    [
        ('Good night. <break time="1.0s" />', "Good night. ", False),
        ("Good night (the end)", "Good night ", False),
        ("Good night. [laughs softly]", "Good night. ", False),
        ("Good night. [laughs softly", "Good night. ", False),
        ("Good night, said the fox (the red one).", "Good night, ", True),
        ("[whispers] Good night, said the fox.", "[whispers] Good night, ", True),
        ("Seven > 5 and 3 < 4, said the fox.", "Seven > 5 and 3 ", True),
    ],
)
def test_what_is_in_brackets_need_not_be_spoken(text: str, spoken: str, early: bool) -> None:
    """A direction or an aside is left out by voices; what stands outside is missed."""
    said = Alignment(text)
    said.add(_timed(spoken))

    assert early == said.stops_early


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
