"""An attempt's text on its way out: nothing leaves before it is known to belong to the story."""

from collections.abc import Iterable
from typing import Final

from story_service.answer.repetition import RepetitionGuard
from story_service.answer.sentences import count_words
from story_service.assignment import MAX_CONTENT_LENGTH, Assignment
from story_service.errors import text_too_long
from story_service.generation.continuation_guard import ContinuationGuard
from story_service.prompting.length import too_short, words_asked

_FIRST_WORDS: Final = 25
"""A refusal is shorter, and a story that is asked for longer."""
_NOTHING_MISSING: Final = 0.8
"""An attempt that adds nothing is believed from this share of the asked words on."""


class TooShortError(Exception):
    """The attempt ended, and what is written is no story of the length that was asked for."""


class OutputGuard:
    """What an attempt adds to the story, checked before it goes out.

    The first sentences of an attempt that goes on are held until it is known not to start over, and those of an
    attempt that begins until they are more than a refusal has. `text` is what was let out.
    """

    def __init__(self, assignment: Assignment) -> None:
        written = assignment.written_so_far
        self._assignment = assignment
        self._continuation = ContinuationGuard(written)
        self._repetition = RepetitionGuard(written)
        self._words = count_words(written)
        self._room = MAX_CONTENT_LENGTH - len(written)
        self._least = 0 if written.strip() else min(_FIRST_WORDS, words_asked(assignment) // 5)
        self._held: list[str] = []
        self._out: list[str] = []

    @property
    def text(self) -> str:
        """What was let out, with the white space that parts it from what was written before."""
        return "".join(self._out)

    def feed(self, text: str, *, new_paragraph: bool = False) -> list[str]:
        """What may be let out now that whole sentences have come; `new_paragraph` says that the attempt began one.

        Raises StartedOverError, RepeatedError, and FAILED_PRECONDITION / TEXT_TOO_LONG where the story would pass its
        bound; what came with them never goes out.
        """
        new = self._continuation.feed(text, new_paragraph=new_paragraph)
        return self._let_out(self._repetition.feed(new)) if new else []

    def finish(self, *, new_paragraph: bool = False) -> list[str]:
        """What is held still, at the end of the attempt. Raises as `feed` does, and TooShortError."""
        new = self._continuation.finish(new_paragraph=new_paragraph)
        self._hold([*(self._repetition.feed(new) if new else []), *self._repetition.finish()])
        if too_short(self._assignment, self._words) or not (self._out or self._held or self._nothing_missing):
            raise TooShortError
        self._least = 0
        return self._let_out(())

    @property
    def _nothing_missing(self) -> bool:
        return self._words >= _NOTHING_MISSING * words_asked(self._assignment)

    def _hold(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self._words += count_words(sentence)
            self._room -= len(sentence)
            if self._room < 0:
                raise text_too_long()
            self._held.append(sentence)

    def _let_out(self, sentences: Iterable[str]) -> list[str]:
        self._hold(sentences)
        if self._words < self._least:
            return []
        self._least = 0
        let_out, self._held = self._held, []
        self._out += let_out
        return let_out
