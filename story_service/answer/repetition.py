"""Texts compared by their words alone, and a guard against a text that repeats itself."""

import re
from collections import Counter
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


_MOST_SENTENCES: Final = 10
_MOST_WORDS: Final = 80
_MOST_TIMES: Final = 3
_PHRASE_WORDS: Final = 3


class RepeatedError(Exception):
    """The text says again what it has said already."""


class RepetitionGuard:
    """Lets text through, and holds what was said before until it is known to be a refrain and no circle.

    A refrain, or a lullaby, is short and comes once at a time: ten sentences in a row, or eighty words, that all were
    there before are a circle, and so is one of them that comes three times more.
    """

    def __init__(self, written: str) -> None:
        """`written` is what was said already."""
        self._seen = set(sentences(written))
        self._held: list[str] = []
        self._again: Counter[tuple[str, ...]] = Counter()

    def feed(self, text: str) -> list[str]:
        """What may be let out now that `text`, one or more whole sentences, has come. Raises RepeatedError."""
        self._held.append(text)
        again = True
        for sentence in sentences(text):
            if sentence in self._seen:
                self._again[sentence] += 1
                if self._goes_round:
                    raise RepeatedError
            else:
                self._seen.add(sentence)
                self._again.clear()
                again = False
        return [] if again else self.finish()

    @property
    def _goes_round(self) -> bool:
        again = self._again
        return (
            again.total() >= _MOST_SENTENCES
            or sum(len(sentence) * times for sentence, times in again.items()) >= _MOST_WORDS
            or any(times >= _MOST_TIMES for sentence, times in again.items() if len(sentence) >= _PHRASE_WORDS)
        )

    def finish(self) -> list[str]:
        """What is held still: the text ends with a refrain."""
        held, self._held = self._held, []
        return held
