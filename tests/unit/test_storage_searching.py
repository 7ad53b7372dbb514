"""Words that are asked for, as the index of SQLite understands them."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_service.embedded.search import forms, is_cyrillic, owner_word, to_expression

MINE = f'owner : "{owner_word("mia")}"'


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("owl", f'{MINE} AND {{title content}} : ("owl")'),
        ("owl Fox", f'{MINE} AND {{title content}} : ("owl") AND {{title content}} : ("Fox")'),
        ('"grey owl', f'{MINE} AND {{title content}} : ("grey owl")'),
        ("owl's", f'{MINE} AND {{title content}} : ("owl s")'),
        ("-owl -fox", f'({MINE}) NOT ({{title content}} : ("owl" OR "fox"))'),
        ("NEAR(b*)", f'{MINE} AND {{title content}} : ("NEAR b")'),
        (" - !? ", None),
    ],
)
def test_a_query_is_words_and_nothing_else(query: str, expected: str | None) -> None:
    """Each is quoted, so that none of them means anything to the index."""
    assert expected == to_expression("mia", query)


@pytest.fixture(scope="module")
def index() -> sqlite3.Connection:
    """An index like the store's."""
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE VIRTUAL TABLE story_search USING fts5 (owner, title, content, tokenize = 'porter unicode61')"
    )
    return connection


@given(query=st.text(max_size=200), owner=st.text(min_size=1, max_size=20))
@settings(deadline=None, max_examples=200)
def test_no_query_is_an_error_of_syntax(index: sqlite3.Connection, query: str, owner: str) -> None:
    """Whatever is typed, by whomever."""
    expression = to_expression(owner.encode("utf-8", "replace").decode(), query)
    if expression is not None:
        index.execute("SELECT rowid FROM story_search WHERE story_search MATCH ?", (expression,)).fetchall()


def test_the_longest_query_of_many_forms_is_taken(index: sqlite3.Connection) -> None:
    """200 characters of Russian words with every form of each."""
    expression = to_expression("mia", "ели или уже " * 17)
    index.execute("SELECT rowid FROM story_search WHERE story_search MATCH ?", (expression,)).fetchall()


@pytest.mark.parametrize(
    ("word", "form"),
    [("драконы", "дракона"), ("девочки", "девочку"), ("играла", "играть"), ("умылся", "умылась"), ("ежик", "ёжика")],
)
def test_a_russian_word_has_its_other_forms(word: str, form: str) -> None:
    """Of noun and verb, with E and YO as one letter; the word itself comes first."""
    assert form in forms(word)
    assert word == forms(word)[0]


def test_short_and_endless_words_keep_to_themselves() -> None:
    """A stem has three letters at least, and no word of more than 40 letters has forms."""
    long = "б" * 41  # noqa: RUF001 - Cyrillic
    assert [long] == forms(long)
    assert all(form.startswith("сон") for form in forms("сон"))


def test_only_cyrillic_words_have_such_forms() -> None:
    """Others are the index's own business."""
    assert [True, False, False, False] == [is_cyrillic(word) for word in ("дом", "owl", "домowl", "")]  # noqa: RUF001 - both
