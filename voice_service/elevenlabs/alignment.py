"""From the times of characters to the times of words."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from voice_service.audio.words import word_spans
from voice_service.ports import WordTiming

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voice_service.elevenlabs.lines import TimedCharacters

_MISSING: Final = 3
"""So many letters or digits without a time at the end of a text are not an oddity of the alignment."""
_LONGEST_COMPARED: Final = 100
"""Most code points that are compared where the characters differ from the text; at worst it takes 7 ms."""
_UNSPOKEN: Final = re.compile(r"\[[^\]]*(?:\]|$)|<[^<>]*>|\([^()]*\)|\{[^{}]*\}")
"""What voices leave out at times: directions, tags, asides."""


class Alignment:
    """Lays characters with times along the text that they belong to.

    White space counts for nothing, since ElevenLabs puts spaces of its own before sentences, nor does case.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._places = [place for place, character in enumerate(text) if not character.isspace()]
        self._letters = [text[place].casefold() for place in self._places]
        self._spoken: list[str] = []
        self._times: list[tuple[float, float]] = []

    def add(self, timed: TimedCharacters) -> None:
        """Take up more characters, which follow those before."""
        for characters, start, end in zip(timed.characters, timed.starts, timed.ends, strict=True):
            for character in characters:
                if not character.isspace():
                    self._spoken.append(character.casefold())
                    self._times.append((start, end))

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
        return max((end for _, end in self._times), default=0.0)

    def words(self) -> tuple[WordTiming, ...]:
        """Return the words of whose characters half have times at least, in order and without overlap."""
        times = dict(self._matched())
        words: list[WordTiming] = []
        before = 0.0
        for first, last in word_spans(self._text):
            heard = [times[place] for place in range(first, last) if place in times]
            if 2 * len(heard) < last - first:
                continue
            start = max(before, min(start for start, _ in heard))
            before = max(start, *(end for _, end in heard))
            words.append(WordTiming(first, last, start, before))
        return tuple(words)

    def _matched(self) -> Iterator[tuple[int, tuple[float, float]]]:
        """Give the place in the text of each character that is found in it, with its times."""
        if self.is_exact:
            yield from zip(self._places, self._times, strict=False)
            return
        spoken, letters = self._spoken, self._letters
        before = 0
        if max(len(spoken), len(letters)) > _LONGEST_COMPARED:
            before = _alike(zip(spoken, letters, strict=False))
            most = min(len(spoken), len(letters)) - before
            behind = min(most, _alike(zip(reversed(spoken), reversed(letters), strict=False)))
            yield from zip(self._places[:before], self._times, strict=False)
            if behind:
                yield from zip(self._places[-behind:], self._times[-behind:], strict=True)
            spoken, letters = spoken[before : len(spoken) - behind], letters[before : len(letters) - behind]
        if max(len(spoken), len(letters)) > _LONGEST_COMPARED:
            return
        for block in SequenceMatcher(None, spoken, letters, autojunk=False).get_matching_blocks():
            for offset in range(block.size):
                yield self._places[before + block.b + offset], self._times[before + block.a + offset]


def _alike(pairs: Iterable[tuple[str, str]]) -> int:
    """So many pairs are alike before the first that is not."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
