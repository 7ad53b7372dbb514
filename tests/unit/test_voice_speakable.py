"""What of a text is meant for the ear."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.languages import language_of
from voice_service.languages import covers
from voice_service.narration.segmenter import _cleaned, speakable


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("# The **Fox**", "The Fox"),
        ("She was *very* _very_ tired.", "She was very very tired."),
        ("- one\n- two", "one\ntwo"),
        ("> He said `stop`.", "He said stop."),
        ("Look [here](https://example.org/a) now", "Look here now"),
        ("Good night 🌙✨ my dear 👩‍👩‍👧!", "Good night my dear !"),
        ("  two   spaces\t and\r\n\n a line ", "two spaces and\na line"),
        ("It is 20 °C & snake_case, 5-year-old", "It is 20 °C & snake_case, 5-year-old"),
        ("***", ""),
        ("a\u0000b\u0007c", "abc"),
    ],
)
def test_marks_and_emoji_are_not_spoken(text: str, spoken: str) -> None:
    """Markdown, emoji and control characters go, words stay."""
    assert spoken == speakable(text).text


@given(st.text(alphabet="ab *_#`~[](!)🌙\n\u200d\ufe0f.é", max_size=80))
def test_every_spoken_character_is_found_where_it_stood(text: str) -> None:
    """Positions grow, and point at the same character or at the white space that became one."""
    said = speakable(text)

    assert list(said.positions) == sorted(set(said.positions))
    assert all(
        text[position] == character or (text[position].isspace() and character.isspace())
        for character, position in zip(said.text, said.positions, strict=True)
    )


def test_a_word_is_mapped_back_over_what_was_left_out() -> None:
    """Word timings point at the text that was given, not at the one that was spoken."""
    text = "🌙 **Good** night"
    said = speakable(text)

    start, end = said.original_span(said.text.index("night"), len(said.text))

    assert "night" == text[start:end]


@pytest.mark.parametrize(("text", "audible"), [("…!", False), ("🌙", False), ("", False), ("a", True), ("7", True)])
def test_only_letters_and_digits_can_be_heard(text: str, audible: bool) -> None:
    """A row of dots is a pause."""
    assert audible is speakable(text).audible


@pytest.mark.parametrize(
    ("sample", "language"),
    [("The fox", "en"), ("Лиса", "ru"), ("Їжак", "uk"), ("きつね", "ja"), ("狐狸", "zh"), ("", "en")],
)
def test_letters_tell_the_language(sample: str, language: str) -> None:
    """By script alone; Latin letters are taken for English."""
    assert language == language_of(sample)


@pytest.mark.parametrize(
    ("wanted", "spoken"), [("en", True), ("en-AU", True), ("EN", True), ("pt", True), ("pt-PT", False), ("eng", False)]
)
def test_a_bare_language_stands_for_its_regions(wanted: str, spoken: bool) -> None:
    """A voice of "en" reads any English; one of "pt-BR" reads "pt" but not "pt-PT"."""
    assert spoken is covers(("en", "pt-BR"), wanted)


@given(st.text(st.sampled_from("ab Z9.,!-+=>*_#`[]()~\n\t é’—я世🌙\u200d\ufe0f\u20e3\xa0\xad"), max_size=30))
def test_the_short_way_is_the_long_way(text: str) -> None:
    """What passes for plain comes out as if it had been looked at character by character."""
    short, long = speakable(text), _cleaned(text)

    assert (long.text, list(long.positions)) == (short.text, list(short.positions))
