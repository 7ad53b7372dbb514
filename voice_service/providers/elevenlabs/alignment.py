"""From the times of characters to the times of words."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain, compress, count, repeat, takewhile
from math import inf
from typing import TYPE_CHECKING, Final

from voice_service.audio.words import word_spans
from voice_service.ports import WordTiming

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MISSING: Final = 3
"""So many letters or digits without a time at the end of a text are not an oddity of the alignment."""
_LONGEST_COMPARED: Final = 100
"""Most code points that are compared where the characters differ from the text; at worst it takes 7 ms."""
_UNSPOKEN: Final = re.compile(r"\[[^\]]*(?:\]|$)|<[^<>]*>|\([^()]*\)|\{[^{}]*\}")
"""What voices leave out at times: directions, tags, asides."""


@dataclass(frozen=True, slots=True)
class TimedCharacters:
    """Characters as they were spoken, with the second at which each starts and ends."""

    characters: tuple[str, ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]


class Alignment:
    """Lays characters with times along the text that they belong to.

    White space counts for nothing, since ElevenLabs puts spaces of its own before sentences, nor does case.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._places = list(compress(count(), map(str.strip, text)))
        self._letters = _letters(text)
        self._spoken: list[str] = []
        self._starts: list[float] = []
        self._ends: list[float] = []

    def add(self, timed: TimedCharacters) -> None:
        """Take up more characters, which follow those before."""
        starts, ends = timed.starts, timed.ends
        sizes = list(map(len, timed.characters))
        if {*sizes} != {1}:
            starts = tuple(chain.from_iterable(map(repeat, starts, sizes)))
            ends = tuple(chain.from_iterable(map(repeat, ends, sizes)))
        characters = "".join(timed.characters)
        self._spoken += _letters(characters)
        self._starts += compress(starts, map(str.strip, characters))
        self._ends += compress(ends, map(str.strip, characters))

    @property
    def is_exact(self) -> bool:
        """Whether the characters are those of the text, or of its beginning."""
        return self._spoken == self._letters[: len(self._spoken)]

    @property
    def stops_early(self) -> bool:
        """Whether the text goes on where the characters end; what is in brackets need not be spoken."""
        if not self._spoken or not self.is_exact:
            return False
        unspoken = {place for match in _UNSPOKEN.finditer(self._text) for place in range(*match.span())}
        missing = (place for place in self._places[len(self._spoken) :] if place not in unspoken)
        return sum(self._text[place].isalnum() for place in missing) >= _MISSING

    @property
    def end(self) -> float:
        """Second at which the last character ends; 0 where there is none."""
        return max(self._ends, default=0.0)

    def words(self) -> tuple[WordTiming, ...]:
        """Return the words of whose characters half have times at least, in order and without overlap."""
        starts, ends = [inf] * len(self._letters), [-inf] * len(self._letters)
        for spoken, letter, size in self._matched():
            starts[letter : letter + size] = self._starts[spoken : spoken + size]
            ends[letter : letter + size] = self._ends[spoken : spoken + size]
        words: list[WordTiming] = []
        before = 0.0
        for first, last in word_spans(self._text):
            # There is no white space in a word.
            letter = bisect_left(self._places, first)
            heard = starts[letter : letter + last - first]
            if 2 * heard.count(inf) > last - first:
                continue
            start = max(before, min(heard))
            before = max(start, *ends[letter : letter + last - first])
            words.append(WordTiming(first, last, start, before))
        return tuple(words)

    def _matched(self) -> Iterator[tuple[int, int, int]]:
        """Give where in the spoken characters and in those of the text so many are the same."""
        spoken, letters = self._spoken, self._letters
        if self.is_exact:
            yield 0, 0, len(spoken)
            return
        before = behind = 0
        if max(len(spoken), len(letters)) > _LONGEST_COMPARED:
            before = _alike(zip(spoken, letters, strict=False))
            most = min(len(spoken), len(letters)) - before
            behind = min(most, _alike(zip(reversed(spoken), reversed(letters), strict=False)))
            yield 0, 0, before
            yield len(spoken) - behind, len(letters) - behind, behind
            spoken, letters = spoken[before : len(spoken) - behind], letters[before : len(letters) - behind]
        if max(len(spoken), len(letters)) <= _LONGEST_COMPARED:
            for block in SequenceMatcher(None, spoken, letters, autojunk=False).get_matching_blocks():
                yield before + block.a, before + block.b, block.size


def _letters(text: str) -> list[str]:
    """Return the characters of a text as they are compared: without white space, in one case."""
    return list(map(str.casefold, "".join(text.split())))


def _alike(pairs: Iterable[tuple[str, str]]) -> int:
    """So many pairs are alike before the first that is not."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
