"""Texts compared by their words alone."""

import re
from dataclasses import dataclass
from typing import Final

# Combining marks are no \w of their own in Python, and belong to the letter before them.
_WORD: Final = re.compile(r"[\w\N{COMBINING GRAVE ACCENT}-\N{COMBINING LATIN SMALL LETTER X}]+")
_SENTENCE_END: Final = re.compile(
    r"[.!?\u2026\u3002\uff01\uff1f\u0964][\"'\u2019\u201d\u00bb\u300d\u300f)\]*_]*(?=\s|$)|[\u3002\uff01\uff1f]"
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word in the case-folded form in which it is compared, and where it ends in its text."""

    key: str
    end: int


def words(text: str) -> list[Word]:
    """The words of `text`, without punctuation and case."""
    return [Word(found.group().casefold(), found.end()) for found in _WORD.finditer(text)]


def keys(text: str) -> tuple[str, ...]:
    """The words of `text` as they are compared."""
    return tuple(_WORD.findall(text.casefold()))


def sentence_ends(text: str) -> list[int]:
    """Where sentences end in `text`, roughly: enough to compare two texts that are cut in the same way."""
    return [found.end() for found in _SENTENCE_END.finditer(text)]


def sentences(text: str) -> list[tuple[str, ...]]:
    """The sentences of `text` as they are compared, those without a word left out."""
    start, found = 0, []
    for end in (*sentence_ends(text), len(text)):
        if sentence := keys(text[start:end]):
            found.append(sentence)
        start = end
    return found
