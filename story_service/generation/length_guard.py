"""Holds what may be an ending that comes too soon, and what may be too much of a passage."""

import math
from collections import deque
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from story_service.answer.sentences import count_words
from story_service.assignment import MAX_CONTENT_LENGTH, Assignment
from story_service.errors import text_too_long
from story_service.generation.endings import TOO_SHORT

_FIRST_WORDS: Final = 30
"""Of an answer, which are never held: the voice begins with them."""
_PART: Final = 4
_MOST_WORDS: Final = 120
"""While an answer is short, the last quarter of it is held, at most so many words: endings have no more."""
_LONGEST_ENDING: Final = 1_000
"""Words of an answer that was to be an ending alone."""


class LengthGuard:
    """Passes sentences on, but for the last ones of a passage that may be extended, and those beyond its words.

    What is held is released with a proper end of the answer, where the passage is long enough and not too long. An
    answer that is to be an ending alone is held to its end: of a longer one the last paragraphs that fit are the
    ending.
    """

    def __init__(self, assignment: Assignment) -> None:
        passage = assignment.passage
        self._passage = passage
        self._extendable = assignment.extendable
        self._ends = passage.lacks_only_ending
        self._most = passage.written + _LONGEST_ENDING if self._ends else passage.most
        self._room = MAX_CONTENT_LENGTH - len(assignment.written_so_far)
        self._held: deque[tuple[str, int]] = deque()
        self._held_words = 0
        self.words = passage.written
        """Words of the passage, with those that are held."""
        self.full = False
        """True once the next sentence would make the passage longer than it may become: no more is taken."""

    @property
    def share(self) -> float:
        """The share of its requested words that the passage has."""
        return self.words / self._passage.words

    @property
    def is_short(self) -> bool:
        """True where the passage is extended before its ending, if it ends here."""
        return self._extendable and self.words < self._passage.least

    def feed(self, sentences: Iterable[str]) -> list[str]:
        """Returns what may be released. Raises FAILED_PRECONDITION / TEXT_TOO_LONG where the story is too long."""
        for sentence in sentences:
            number = count_words(sentence)
            self.full = self.full or self.words + number > self._most
            if self.full:
                break
            self.words += number
            self._room -= len(sentence)
            if self._room < 0:
                raise text_too_long()
            self._held.append((sentence, number))
            self._held_words += number
        return self._released(self._to_hold())

    def finish(self, *, ended: bool) -> list[str]:
        """Returns what may be released at the end of an answer; `ended`: it was not cut."""
        if self._ends and ended:
            return self._ending()
        return [] if self.full or (ended and self.is_short and self.share >= TOO_SHORT) else self.let_go()

    def let_go(self) -> list[str]:
        """Returns all that is held; of an ending without an end as much as was requested."""
        if not self._ends:
            return self._released(0)
        fits = sum(total <= self._passage.left for total in accumulate(number for _, number in self._held))
        self.full = self.full or fits < len(self._held)
        return self._released(0)[:fits]

    def whole_paragraphs(self) -> list[str]:
        """Returns what is held of an answer that is too long, up to its last paragraph."""
        texts = self._released(0)
        return texts[: max((at for at, text in enumerate(texts) if text.startswith("\n")), default=0)]

    def _to_hold(self) -> float:
        """Returns how many of the last words are held."""
        if self._ends:
            return math.inf
        if self.is_short:
            new = self.words - self._passage.written - _FIRST_WORDS
            return min(max(new, 0) // _PART, _MOST_WORDS)
        return max(0, self.words - self._passage.words)

    def _ending(self) -> list[str]:
        room = max(self._passage.most - self._passage.written, self._passage.left)
        fits = sum(total <= room for total in accumulate(number for _, number in reversed(self._held)))
        texts = self._released(0)
        if fits == len(texts):
            return texts
        last = texts[len(texts) - fits :]
        first = next((at for at, text in enumerate(last) if text.startswith("\n")), 0)
        return ["\n\n" + "".join(last[first:]).lstrip()] if last else []

    def _released(self, hold: float) -> list[str]:
        texts: list[str] = []
        while self._held and self._held_words - self._held[0][1] >= hold:
            text, number = self._held.popleft()
            self._held_words -= number
            texts.append(text)
        return texts
