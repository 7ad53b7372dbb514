"""The seam between the text that is out and an attempt that goes on with it."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

from story_service.answer.repetition import RepeatedError, Word, keys, sentence_ends, sentences, words

_TAIL_WORDS: Final = 400
"""So much of the end of the old text may be told once more before the attempt goes on."""
_LEAST_WORDS: Final = 12
_LEAST_CHARACTERS: Final = 60
"""So much of the attempt tells whether it starts over; characters count where words are not parted by blanks."""
_OPENING_WORDS: Final = 4
_OPENING_SENTENCES: Final = 3
_ALIKE: Final = 0.8
_PASSAGE_WORDS: Final = 20
_CLOSING: Final = ".!?…。！？।,;:\"'’”»」』)]*_-–—"  # noqa: RUF001 - punctuation of the world
_UNSPACED: Final = "。！？」』"  # noqa: RUF001 - likewise


class StartedOverError(Exception):
    """The attempt tells the story again instead of going on with it."""


class ContinuationGuard:
    """Trims what an attempt repeats of the end of the old text, and refuses an attempt that starts over.

    Both are compared by words alone. The first sentences are held until it is known which of them are new: at least
    twelve words or sixty characters, and as long as all that came stands in the last four hundred words of the old
    text.
    """

    def __init__(self, written: str) -> None:
        """`written` is the old text, which ends with a whole sentence; nothing is held where it is empty."""
        self._written = written
        self._tail = [word.key for word in words(written[-20 * _TAIL_WORDS :])][-_TAIL_WORDS:]
        self._starts = _sentence_starts(written, len(self._tail))
        self._opening = keys(written[: 40 * _OPENING_WORDS])[:_OPENING_WORDS]
        told = sentences(written[:2_000])
        self._first = [sentence for sentence in told[:_OPENING_SENTENCES] if len(sentence) > _OPENING_WORDS]
        self._underway = len(told) > _OPENING_SENTENCES
        self._held = ""
        self._open = not written.strip()

    def feed(self, text: str, *, new_paragraph: bool = False) -> str:
        """What may be let out now that `text`, one or more whole sentences, has come.

        `new_paragraph` says that the attempt began one. Raises StartedOverError, and RepeatedError for an attempt
        that tells once more a passage from within the old text.
        """
        if self._open:
            return text
        self._held += text
        new = words(self._held)
        if self._underway and self._opens(new):
            raise StartedOverError
        too_little = len(new) < _LEAST_WORDS and len(self._held) < _LEAST_CHARACTERS
        return "" if too_little or self._may_overlap(new) else self._decided(new, new_paragraph=new_paragraph)

    def finish(self, *, new_paragraph: bool = False) -> str:
        """What is held still, now that the attempt has ended. Raises as `feed` does."""
        return "" if self._open else self._decided(words(self._held), new_paragraph=new_paragraph)

    def _opens(self, new: Sequence[Word]) -> bool:
        """True where `new` begins as the story did."""
        return len(new) >= _OPENING_WORDS and tuple(word.key for word in new[:_OPENING_WORDS]) == self._opening

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
        if any(_common(said, self._tail[start:]) >= _PASSAGE_WORDS for start in self._starts):
            raise RepeatedError

    def _may_overlap(self, new: Sequence[Word]) -> bool:
        """True while all of `new` stands somewhere in the tail, and the tail goes on behind it."""
        said = [word.key for word in new]
        return any(self._tail[start : start + len(said)] == said for start in range(len(self._tail) - len(said)))

    def _overlap(self, new: Sequence[Word]) -> int:
        """How many words at the start of `new` are the end of the tail: the most there are, whole sentences alone."""
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
        """`text` with the white space that parts it from what is out."""
        rest = text.lstrip()
        if not rest or self._written[-1:].isspace():
            return rest
        space = text[: len(text) - len(rest)]
        if "\n" in space or (new_paragraph and not space):
            return "\n\n" + rest
        return rest if not space and self._written[-1] in _UNSPACED else " " + rest


def _sentence_starts(written: str, tail: int) -> frozenset[int]:
    """Positions in a tail of so many words at which sentences start."""
    starts, position = [], tail
    for sentence in reversed(sentences(written[-20 * _TAIL_WORDS :])):
        position -= len(sentence)
        if position < 0:
            break
        starts.append(position)
    return frozenset(starts)


def _closed(text: str, end: int) -> int:
    """The position behind the punctuation that follows `end`."""
    while end < len(text) and text[end] in _CLOSING:
        end += 1
    return end


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """With how many equal words both begin."""
    for position, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return position
    return min(len(one), len(other))


def _alike(one: Sequence[str], other: Sequence[str]) -> bool:
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return len(one) > _OPENING_WORDS and matcher.quick_ratio() >= _ALIKE and matcher.ratio() >= _ALIKE
