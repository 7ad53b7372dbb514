"""From the times of characters to the times of words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voice_service.audio.words import word_spans
from voice_service.ports import WordTiming

if TYPE_CHECKING:
    from voice_service.elevenlabs.lines import TimedCharacters

_LOOK_AHEAD: Final = 24
"""Most code points of the text that are passed over to find the next character that was spoken."""
_MISSING: Final = 3
"""So many letters or digits without a time at the end of a text are not an oddity of the alignment."""


class Alignment:
    """Lays characters with times, as they come, along the text that they belong to.

    White space counts for nothing, since ElevenLabs puts spaces of its own before sentences. A character that is not
    found a little further on in the text is left out.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts: dict[int, float] = {}
        self._ends: dict[int, float] = {}
        self._strays = 0

    def add(self, timed: TimedCharacters) -> None:
        """Take up more characters, which follow those before."""
        for characters, start, end in zip(timed.characters, timed.starts, timed.ends, strict=True):
            for character in characters:
                self._add(character, start, end)

    @property
    def stops_early(self) -> bool:
        """Whether the characters follow the text without a stray one and end before it does."""
        missing = sum(map(str.isalnum, self._text[self._at :]))
        return bool(self._starts) and not self._strays and missing >= _MISSING

    @property
    def end(self) -> float:
        """Second at which the last character ends; 0 where there is none."""
        return max(self._ends.values(), default=0.0)

    def words(self) -> tuple[WordTiming, ...]:
        """Return the words whose characters have times, in order and without overlap."""
        words: list[WordTiming] = []
        before = 0.0
        for first, last in word_spans(self._text):
            places = [place for place in range(first, last) if place in self._starts]
            if not places:
                continue
            start = max(before, min(self._starts[place] for place in places))
            end = max(start, *(self._ends[place] for place in places))
            words.append(WordTiming(first, last, start, end))
            before = end
        return tuple(words)

    def _add(self, character: str, start: float, end: float) -> None:
        if character.isspace():
            return
        place = self._find(character)
        if place is None:
            self._strays += 1
            return
        self._starts[place] = start
        self._ends[place] = end
        self._at = place + 1

    def _find(self, character: str) -> int | None:
        folded = character.casefold()
        seen = 0
        for place in range(self._at, len(self._text)):
            here = self._text[place]
            if here.isspace():
                continue
            if here == character or here.casefold() == folded:
                return place
            seen += 1
            if seen >= _LOOK_AHEAD:
                break
        return None
