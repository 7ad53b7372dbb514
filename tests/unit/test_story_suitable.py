"""Which words and deeds the embedded writer knows to be suitable."""

import pytest

from offline_writer.stock import parse
from offline_writer.suitable import Vocabulary

LISTS = """# plain
and, i, to
# before
a, the, my, in, with, on, like
# clauses
who, and then, where
# modifiers
birthday
# beside
with, and
# always
summer
# company
sister, dad
# beings
dragon, cat
# still
roof
# foods
cake, ice cream, ice-cream
# deeds
eat: ~foods
see, like: *
dance: ball
give: >~company, cat, ~foods
"""
VOCABULARY = Vocabulary(
    parse(LISTS),
    lemmas=lambda word: (word.removesuffix("s"),),
    is_name=str.istitle,
    is_verb=lambda word: word == "cake",
)


@pytest.mark.parametrize(
    "text",
    [
        "eat ice cream in the summer", "a dragon who eats cake", "see a cat", "a cat on the roof",
        "dance with my sister", "eat the birthday cake", "a dragon who sees the ball", "a cat Rex",
        "Mia and a cat", "", "2 cats",
        "eat cake with my sister and dad", "a roof where a dragon eats cake", "eat cake and then dance with dad",
        "give my sister a cat", "give dad and my sister cake", "give a cat to my sister", "give cake dad",
        "eat ice\u2011cream", "i like my sister",
    ],
)  # fmt: skip
def test_listed_deeds_suit_with_the_things_that_are_listed_with_them(text: str) -> None:
    assert VOCABULARY.suits(text, name="Mia")


@pytest.mark.parametrize(
    "text",
    [
        "eat a cat", "eat my sister", "dance on the roof", "see the roof", "a zorkle", "Rex", "dance with a cat",
        "a dragon who hurts a cat", "cake the cat",
        "eat cake and my sister", "eat cake with dad and cake and my sister", "eat cake and then my sister",
        "eat where my sister is", "eat like my sister", "give dad to the dragon",
        "give my sister", "give dad my sister",
    ],
)  # fmt: skip
def test_other_words_and_other_things_behind_a_deed_do_not_suit(text: str) -> None:
    assert not VOCABULARY.suits(text, name="Mia")
