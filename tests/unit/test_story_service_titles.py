"""Titles and free text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from story_service.answer.titles import MAX_TITLE_LENGTH, fallback_title, normalise_title
from story_service.cleaning import clean


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("Mia and the Sea", "Mia and the Sea"),
        ("# Mia and the Sea", "Mia and the Sea"),
        ("## Mia and the Sea ##  ", "Mia and the Sea"),
        ("**Mia and the Sea**", "Mia and the Sea"),
        ("Title: Mia and the Sea\n", "Mia and the Sea"),
        ("**Title:** Mia and the Sea", "Mia and the Sea"),
        (
            "# **Title: \N{LEFT DOUBLE QUOTATION MARK}Mia and the Sea\N{RIGHT DOUBLE QUOTATION MARK}**",
            "Mia and the Sea",
        ),
        ("Story title - 'Mia and the Sea'", "Mia and the Sea"),
        ("Название: «Мия и море»", "Мия и море"),
        ('"Hush" and "Hello"', '"Hush" and "Hello"'),
        ("The Titles of Mia", "The Titles of Mia"),
        ("Mia's #1 Wish", "Mia's #1 Wish"),
        ('  "" ', ""),
        ("# ", ""),
        ("Titel: Der Fuchs", "Der Fuchs"),
        ("**Titel:** Der Fuchs", "Der Fuchs"),
        ("Titre : Le petit renard", "Le petit renard"),
        ("Título: El zorro", "El zorro"),
        ("Titolo: La volpe", "La volpe"),
        ("Tytuł: Lis", "Lis"),
        ("标题：小狐狸", "小狐狸"),  # noqa: RUF001 - Chinese
        ("タイトル：小さなきつね", "小さなきつね"),  # noqa: RUF001 - Japanese
        ("Title：The Fox", "The Fox"),  # noqa: RUF001 - a wide colon
        ("제목: 여우", "여우"),
        ("Название сказки: Лис", "Лис"),
        ("Название — Лис", "Лис"),
        ("Заголовок: Лис", "Лис"),
        ("Назва: Лис", "Лис"),
        ("The title is: The Fox", "The Fox"),
        ("《小狐狸的夜晚》", "小狐狸的夜晚"),
        ("『星のきつね』", "星のきつね"),
        ("「星のきつね」", "星のきつね"),
        ("»Der Fuchs«", "Der Fuchs"),
        ("„Der Fuchs“", "Der Fuchs"),
        ("[The Fox]", "The Fox"),
        ("<title>The Fox</title>", "The Fox"),
        ("<h1>The Fox</h1>", "The Fox"),
        ("The Fox<br>", "The Fox"),
        ("=== The Fox ===", "The Fox"),
        ("==The Fox==", "The Fox"),
        ("Title-Page Tom", "Title-Page Tom"),
        ("The Fox and the ===", "The Fox and the ==="),
        ("A < B", "A < B"),
        ("Mia\tand\x07the\u202e Sea", "Mia and the Sea"),
    ],
)
def test_title_line_becomes_a_plain_title(line: str, title: str) -> None:
    """Markup, labels, quotation marks around it and blanks go; what belongs to the title stays."""
    assert title == normalise_title(line)


def test_long_title_is_cut_at_a_word() -> None:
    """A title has at most 200 characters and no half word at its end."""
    assert normalise_title("word " * 100) == "word " * 39 + "word"


def test_long_title_without_blanks_is_cut_anyway() -> None:
    """The bound holds for one endless word too."""
    assert normalise_title("x" * 500) == "x" * MAX_TITLE_LENGTH


@given(st.text(max_size=400))
def test_normalising_is_bounded_and_stable(line: str) -> None:
    """A normalised title is short, and normalising it again changes nothing."""
    title = normalise_title(line)

    assert len(title) <= MAX_TITLE_LENGTH
    assert title == normalise_title(title)


@pytest.mark.parametrize(
    ("language_code", "title"),
    [("en", "A Bedtime Story"), ("ru", "Сказка на ночь"), ("de-AT", "Eine Gutenachtgeschichte"), ("zh", "睡前故事")],
)
def test_title_that_is_missing_is_made_in_the_language_of_the_story(language_code: str, title: str) -> None:
    """What is read aloud first is in the language of what follows."""
    assert title == fallback_title(language_code)


@pytest.mark.parametrize(
    ("given_text", "cleaned"),
    [
        ("a dragon\nwho\x00 cannot\r\n sleep", "a dragon who cannot sleep"),
        ("  blanks \u2028 around  ", "blanks around"),
        ("right\u202eleft\u200bzero\ufeff", "rightleftzero"),
        ("e\u0301", "\u00e9"),
        ("a family \U0001f468\u200d\U0001f469\u200d\U0001f467", "a family \U0001f468\u200d\U0001f469\u200d\U0001f467"),
    ],
)
def test_control_characters_are_cleaned_away(given_text: str, cleaned: str) -> None:
    """Control characters become blanks, invisible marks vanish, joined emoji stay whole."""
    assert cleaned == clean(given_text)
