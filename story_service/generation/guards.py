"""Guards of an attempt's text: nothing is released before it is known to belong to the story."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from servicekit.sentences import sentence_ends
from story_service.answer.sentences import count_words
from story_service.assignment import Assignment
from story_service.generation.length_guard import LengthGuard
from story_service.generation.opening import OpeningGuard

# Combining marks are no \w in Python, and belong to the letter before them: Latin, Arabic, scripts of India, Thai.
_WORD: Final = re.compile(
    r"[\w\u0300-\u036f\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0966-\u0dff\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]+"
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word, case-folded for comparison, and where it ends in its text."""

    key: str
    end: int


def words(text: str) -> list[Word]:
    """Returns the words of `text`, without punctuation and case."""
    return [Word(found.group().casefold(), found.end()) for found in _WORD.finditer(text)]


def keys(text: str) -> tuple[str, ...]:
    """Returns the words of `text` as they are compared."""
    return tuple(_WORD.findall(text.casefold()))


def sentences(text: str) -> list[tuple[str, ...]]:
    """Returns the sentences of `text` as they are compared, without those that have no word."""
    start, found = 0, []
    for end in (*sentence_ends(text), len(text)):
        if sentence := keys(text[start:end]):
            found.append(sentence)
        start = end
    return found


_RETOLD_SENTENCES: Final = 10
_RETOLD_WORDS: Final = 80
_CIRCLING_SENTENCES: Final = 20
_CIRCLING_WORDS: Final = 80
_LONGEST_RUN: Final = 400


class RepeatedError(Exception):
    """The text repeats earlier text."""


class _Run:
    """Sentences in a row that all came before, in words."""

    def __init__(self) -> None:
        self._words: dict[tuple[str, ...], int] = {}
        self._total = 0
        self._retold = self._retold_words = 0
        """Of those that came once before: a second telling."""
        self._circling = self._circling_words = 0
        """Of those that came in this run already."""

    def add(self, sentence: tuple[str, ...], *, second: bool) -> None:
        """Takes one more; `second`: it had come once."""
        size = max(len(sentence), count_words(" ".join(sentence)))
        self._total += size
        if sentence in self._words:
            self._circling += 1
            self._circling_words += size
        elif second:
            self._retold += 1
            self._retold_words += size
        self._words[sentence] = size

    @property
    def is_loop(self) -> bool:
        """Returns whether no refrain and no cumulative tale is like this."""
        return (
            self._retold >= _RETOLD_SENTENCES
            or self._retold_words >= _RETOLD_WORDS
            or self._circling >= _CIRCLING_SENTENCES
            or self._circling_words >= _CIRCLING_WORDS
            or self._total >= _LONGEST_RUN
        )


class RepetitionGuard:
    """Passes text on, and holds repeated text until it is known to be a refrain and no loop.

    In a row of repeated sentences, a loop comes round: eighty words of it were in this row before. A second telling is
    eighty words, or ten sentences, that had come once. The verses of a cumulative tale are neither: what they repeat
    grows by a line a verse, and the rest of it came more than once.
    """

    def __init__(self, written: str) -> None:
        """`written` is the earlier text."""
        self._times = Counter(sentences(written))
        self._held: list[str] = []
        self._run = _Run()

    def feed(self, text: str) -> list[str]:
        """Returns what may be released after `text`, one or more whole sentences. Raises RepeatedError."""
        self._held.append(text)
        again = True
        for sentence in sentences(text):
            before = self._times[sentence]
            self._times[sentence] += 1
            if not before:
                self._run = _Run()
                again = False
                continue
            self._run.add(sentence, second=before == 1)
            if self._run.is_loop:
                raise RepeatedError
        return [] if again else self.finish()

    def finish(self) -> list[str]:
        """Returns what is still held: the text ends with a refrain."""
        held, self._held = self._held, []
        return held


_TAIL_WORDS: Final = 400
"""An attempt may repeat so much of the end of the released text before it continues."""
_LEAST_WORDS: Final = 12
_LEAST_CHARACTERS: Final = 60
"""So much of an attempt decides whether it starts over; characters count in scripts without blanks."""
_OPENING_WORDS: Final = 4
_OPENING_SENTENCES: Final = 3
_ALIKE: Final = 0.8
_PASSAGE_WORDS: Final = 20
_CLOSING: Final = ".!?…。！？।,;:\"'’”»」』)]*_-–—"  # noqa: RUF001 - punctuation of the world
_UNSPACED: Final = "。！？」』"  # noqa: RUF001 - likewise


class StartedOverError(Exception):
    """The attempt writes the story again instead of continuing it."""


class ContinuationGuard:
    """Removes what an attempt repeats of the end of the released text, and refuses an attempt that starts over.

    Both are compared by words alone. The first sentences are held until it is known which of them are new: at least
    twelve words or sixty characters, and as long as all of them are in the last four hundred words of the released
    text.
    """

    def __init__(self, written: str) -> None:
        """`written` is the released text, which ends with a whole sentence; nothing is held where it is empty."""
        self._written = written
        self._tail = [word.key for word in words(written[-20 * _TAIL_WORDS :])][-_TAIL_WORDS:]
        self._starts = _sentence_starts(written, len(self._tail))
        said = sentences(written)
        # What began several sentences is a refrain, which may come again.
        beginnings = Counter(sentence[:_OPENING_WORDS] for sentence in said)
        self._opening = keys(written[: 40 * _OPENING_WORDS])[:_OPENING_WORDS]
        self._opens_once = beginnings[self._opening] < 2
        self._first = [
            sentence
            for sentence in said[:_OPENING_SENTENCES]
            if len(sentence) > _OPENING_WORDS and beginnings[sentence[:_OPENING_WORDS]] == 1
        ]
        self._underway = len(said) > _OPENING_SENTENCES
        self._held = ""
        self._open = not written.strip()

    def feed(self, text: str, *, new_paragraph: bool = False) -> str:
        """Returns what may be released after `text`, one or more whole sentences.

        `new_paragraph`: the attempt began with a new one. Raises StartedOverError, and RepeatedError for an attempt
        that repeats a passage from within the released text.
        """
        if self._open:
            return text
        self._held += text
        new = words(self._held)
        if self._underway and self._opens(new):
            raise StartedOverError
        too_little = len(new) < _LEAST_WORDS and len(self._held) < _LEAST_CHARACTERS
        return "" if too_little or self._may_overlap(new) else self._decided(new, new_paragraph=new_paragraph)

    def finish(self, *, new_paragraph: bool = False, cut: bool = False) -> str:
        """Returns what is still held at the end of the attempt; of a `cut` one not what may repeat the text.

        Raises as `feed` does.
        """
        new = words(self._held)
        if self._open or (cut and self._may_overlap(new)):
            return ""
        return self._decided(new, new_paragraph=new_paragraph)

    def _opens(self, new: Sequence[Word]) -> bool:
        """Returns whether `new` begins as the story did."""
        return (
            self._opens_once
            and len(new) >= _OPENING_WORDS
            and tuple(word.key for word in new[:_OPENING_WORDS]) == self._opening
        )

    def _decided(self, new: Sequence[Word], *, new_paragraph: bool) -> str:
        overlap = self._overlap(new)
        if not overlap:
            self._check_new(new)
        rest = self._held[_closed(self._held, new[overlap - 1].end) if overlap else 0 :]
        self._open, self._held = True, ""
        return self._parted(rest, new_paragraph=new_paragraph)

    def _check_new(self, new: Sequence[Word]) -> None:
        if self._opens(new):
            raise StartedOverError
        for sentence in sentences(self._held)[:2]:
            if any(_alike(sentence, first) for first in self._first):
                raise StartedOverError
        said = [word.key for word in new]
        for start in self._starts:
            if _common(said, self._tail[start:]) >= _PASSAGE_WORDS and not self._stood_at(start):
                raise RepeatedError

    def _stood_at(self, start: int) -> bool:
        """Returns whether the tail ends as it did before `start`: the attempt continues a refrain."""
        before = self._tail[max(start - _OPENING_WORDS, 0) : start]
        return bool(before) and before == self._tail[-len(before) :]

    def _may_overlap(self, new: Sequence[Word]) -> bool:
        """Returns whether all of `new` is somewhere in the tail, and the tail continues after it."""
        said = [word.key for word in new]
        return any(self._tail[start : start + len(said)] == said for start in range(len(self._tail) - len(said)))

    def _overlap(self, new: Sequence[Word]) -> int:
        """Returns how many words at the start of `new` are the end of the tail: the most, in whole sentences."""
        said = [word.key for word in new]
        ends = set(sentence_ends(self._held))
        for start in range(max(0, len(self._tail) - len(said)), len(self._tail)):
            length = len(self._tail) - start
            if self._tail[start:] != said[:length] or not (start in self._starts or length >= _OPENING_WORDS - 1):
                continue
            if length == len(said) or _closed(self._held, new[length - 1].end) in ends:
                return length
        return 0

    def _parted(self, text: str, *, new_paragraph: bool) -> str:
        """Returns `text` with the white space that separates it from the released text."""
        rest = text.lstrip()
        if not rest or self._written[-1:].isspace():
            return rest
        space = text[: len(text) - len(rest)]
        if "\n" in space or (new_paragraph and not space):
            return "\n\n" + rest
        return rest if not space and self._written[-1] in _UNSPACED else " " + rest


def _sentence_starts(written: str, tail: int) -> frozenset[int]:
    """Returns the positions in a tail of `tail` words at which sentences start."""
    starts, position = [], tail
    for sentence in reversed(sentences(written[-20 * _TAIL_WORDS :])):
        position -= len(sentence)
        if position < 0:
            break
        starts.append(position)
    return frozenset(starts)


def _closed(text: str, end: int) -> int:
    """Returns the position after the punctuation that follows `end`."""
    while end < len(text) and text[end] in _CLOSING:
        end += 1
    return end


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Returns with how many equal words both begin."""
    for position, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return position
    return min(len(one), len(other))


def _alike(one: Sequence[str], other: Sequence[str]) -> bool:
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return len(one) > _OPENING_WORDS and matcher.quick_ratio() >= _ALIKE and matcher.ratio() >= _ALIKE


class OutputGuard:
    """What an attempt adds to the story, checked before it is released.

    The first sentences of a continuation are held until it is known not to start over, and those of every attempt until
    they are known to be a story (OpeningGuard); the last ones as LengthGuard says.
    """

    def __init__(self, assignment: Assignment, opening: OpeningGuard) -> None:
        self._opening = opening
        self._continuation = ContinuationGuard(assignment.written_so_far)
        self._repetition = RepetitionGuard(assignment.written_so_far)
        self.length = LengthGuard(assignment)

    def feed(self, text: str, *, new_paragraph: bool = False) -> list[str]:
        """Returns what may be released after whole sentences; `new_paragraph`: the attempt began with a new one.

        Raises StartedOverError, RepeatedError, what OpeningGuard raises, and FAILED_PRECONDITION / TEXT_TOO_LONG where
        the story would be too long; the text that came with them is never released.
        """
        new = self._continuation.feed(text, new_paragraph=new_paragraph)
        return self._opening.feed(self.length.feed(self._repetition.feed(new))) if new else []

    def finish(self, *, ended: bool, may_end: bool, new_paragraph: bool = False) -> list[str]:
        """Returns what is still held at the end of the attempt, without an ending that comes too soon.

        `ended`: it was not cut; `may_end`: the story may end here. Of a cut attempt nothing is released that may repeat
        the text. Raises as `feed` does.
        """
        held: list[str] = []
        if may_end:
            new = self._continuation.finish(new_paragraph=new_paragraph, cut=not ended)
            held = [*(self._repetition.feed(new) if new else []), *self._repetition.finish()]
        released = [*self.length.feed(held), *self.length.finish(ended=ended)]
        if not self._opening.is_open:
            # So little text is judged as a whole.
            released += self.length.let_go()
        return [*self._opening.feed(released), *self._opening.finish(ended=may_end)]

    def let_go(self, *, paragraphs: bool = False) -> list[str]:
        """Returns what is held for its length alone; with `paragraphs` up to the last one. Raises as `feed` does."""
        held = self.length.whole_paragraphs() if paragraphs else self.length.let_go()
        return [*self._opening.feed(held), *self._opening.finish(ended=True)]
