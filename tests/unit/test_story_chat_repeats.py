"""Text that a server sends more than once, whatever its pieces are: nothing is lost, and nothing is doubled."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.story_models import WHOLE

from story_service.providers.chat.repeats import Repeats

LULLABY: Final = """Hush, Little Moon

Hush, little moon, don't say a word,
Hush, little moon, don't say a word,
Mama's going to sing for the mockingbird.

La la la la la, la la la la la,
Hush, little moon, don't say a word.
"""
CUMULATIVE: Final = "The House\n\n" + "".join(
    f"This is {', and this is '.join(['the cat', 'the dog', 'the hen', 'the cow'][:count])}.\n" for count in range(1, 5)
)
LAUGHTER: Final = "Ha ha ha ha ha ha ha! Ha ha ha, laughed the goose. Ha!"
DIALOGUE: Final = "Лиса и ёж\n\n— Кто там? — спросил ёж.\n— Это я, лиса! — сказала лиса.\n— Кто там? — спросил ёж.\n"
CHINESE: Final = "小狐狸\n\n从前有一只小狐狸，小狐狸，小狐狸！它看见了星星。它睡着了。"  # noqa: RUF001 - as it is written
ECHO: Final = "The Fox\n\nThe Fox was small. The Fox was red. The Fox slept."
STORIES: Final = {
    "prose": WHOLE,
    "lullaby": LULLABY,
    "cumulative tale": CUMULATIVE,
    "laughter": LAUGHTER,
    "dialogue": DIALOGUE,
    "Chinese": CHINESE,
    "echo": ECHO,
}


def _pieces(text: str, cuts: Sequence[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % len(text) for cut in cuts)})
    return [text[start:end] for start, end in pairwise(places)]


def _read(pieces: Sequence[str]) -> str:
    repeats = Repeats()
    return "".join([*map(repeats.feed, pieces), repeats.finish()])


CUTS: Final = st.lists(st.integers(0, 2_000), max_size=80)


@pytest.mark.parametrize("name", STORIES)
@given(cuts=CUTS)
def test_pieces_of_a_story_are_passed_on_as_they_are(name: str, cuts: list[int]) -> None:
    """Wherever they are cut."""
    text = STORIES[name]

    assert text == _read(_pieces(text, cuts))


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 40])
def test_equal_pieces_of_a_story_are_passed_on_as_they_are(name: str, size: int) -> None:
    """Characters, words and lines may well be equal."""
    text = STORIES[name]

    assert text == _read([text[at : at + size] for at in range(0, len(text), size)])
    assert text == _read(text.splitlines(keepends=True))


@pytest.mark.parametrize("name", sorted(STORIES.keys() - {"laughter"}))
@given(cuts=CUTS.filter(lambda cuts: len(set(cuts)) > 3))
def test_pieces_that_hold_all_the_text_so_far_are_read_once(name: str, cuts: list[int]) -> None:
    """From four pieces on, wherever they are cut."""
    text = STORIES[name]
    ends = sorted({len(text), *(cut % len(text) for cut in cuts)} - {0})
    pieces = [text[:end] for end in ends]

    if len(pieces) > 3:
        assert text == _read(pieces)


@pytest.mark.parametrize("name", STORIES)
@given(cuts=CUTS)
def test_last_piece_that_repeats_all_the_text_is_left_out(name: str, cuts: list[int]) -> None:
    """With or without the white space at its ends; also where it follows a single piece."""
    text = STORIES[name]
    pieces = _pieces(text, cuts)

    assert text == _read([*pieces, text])
    assert text == _read([*pieces, text.strip()])


def test_message_behind_pieces_adds_what_is_new() -> None:
    """A whole message behind deltas is no second telling."""
    repeats = Repeats()

    text = repeats.feed("Once there was ") + repeats.feed("a fox. ")
    text += repeats.feed("Once there was a fox. It slept.", whole=True)

    assert "Once there was a fox. It slept." == text + repeats.finish()


@pytest.mark.parametrize("name", STORIES)
@given(cuts=CUTS)
def test_pieces_may_be_called_messages(name: str, cuts: list[int]) -> None:
    """Servers send `message` for `delta`: then it is a piece like any other."""
    text, repeats = STORIES[name], Repeats()

    read = "".join(repeats.feed(piece, whole=True) for piece in _pieces(text, cuts))

    assert text == read + repeats.finish()


def test_repeated_line_with_text_behind_it_is_a_refrain() -> None:
    """It is held until the next piece, and not longer."""
    line = "Row, row, row your boat, gently down the stream.\n"
    repeats = Repeats()

    assert line == repeats.feed(line)
    assert "" == repeats.feed(line)
    assert line + "Merrily" == repeats.feed("Merrily")


@pytest.mark.parametrize(
    "pieces",
    [
        ["Ha", "Ha ha"],
        ["Ha", "Ha"],
        ["on ", *["on "] * 30],
        ["ha", "ha ha", "ha ha ha"],
        ["B", "B-b", "ear"],
        ["\n", "\n\nA"],
    ],
)
def test_pieces_that_begin_alike_are_no_cumulation(pieces: list[str]) -> None:
    """Laughter, stammering and line breaks."""
    assert "".join(pieces) == _read(pieces)


def test_equal_pieces_are_not_held_for_long() -> None:
    """Eight of them."""
    repeats = Repeats()

    assert [repeats.feed("la ") for _ in range(12)][-2:] == ["la ", "la "]
