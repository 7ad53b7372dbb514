"""Holds the first sentences of an attempt until they are known to be a story, in the requested language."""

from typing import Final

from servicekit.languages import LanguageDetector
from story_service.answer.refusals import Refusal, refusal_in
from story_service.answer.sentences import count_words
from story_service.assignment import Assignment
from story_service.passage import words_of

_FIRST_WORDS: Final = 25
"""Words that show the language; most refusals are shorter."""
_CERTAIN_WORDS: Final = 60
"""Words after which another language is one, and no song or greeting at the beginning."""
_LONGEST_REFUSAL: Final = 150
_REFUSAL_SHARE: Final = 0.6
"""Share of the requested words; what has more is a story, however it begins."""


class RefusedError(Exception):
    """The model refuses to write the story."""


class OtherLanguageError(Exception):
    """The attempt is written in another language; `found` is its BCP-47 code, or that of its script."""

    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found


class OpeningGuard:
    """Passes text on once it is no refusal and in the requested language.

    What may be a refusal is held until it is longer than one. A story that is continued was begun by a model, so only
    a certain refusal counts.
    """

    def __init__(self, assignment: Assignment, languages: LanguageDetector | None) -> None:
        """`languages` is loaded by the time of the first text; None leaves the language unchecked."""
        asked = words_of(assignment.length_minutes)
        self._language = assignment.language_code
        self._languages = languages
        self._begun = bool(assignment.written_so_far.strip())
        self._least = min(_FIRST_WORDS, asked // 5)
        self._most = min(_LONGEST_REFUSAL, _REFUSAL_SHARE * asked)
        self._title = ""
        self._held: list[str] = []
        self._words = 0
        self.is_open = False
        """True once text was passed on."""

    def title(self, title: str) -> bool:
        """Returns whether the title may be released before the text. Raises RefusedError."""
        self._title = title
        refusal = refusal_in(title)
        if refusal is Refusal.CERTAIN:
            raise RefusedError
        may_be = self._languages is None or self._languages.may_be(self._language, title)
        return may_be and refusal is Refusal.NONE

    def feed(self, sentences: list[str]) -> list[str]:
        """Returns what may be released after `sentences`. Raises RefusedError and OtherLanguageError."""
        if self.is_open:
            return sentences
        self._held += sentences
        self._words += sum(map(count_words, sentences))
        if self._words < self._least:
            return []
        refusal = self._refusal()
        if refusal is Refusal.CERTAIN:
            raise RefusedError
        if refusal is Refusal.POSSIBLE and not self._begun and self._words < self._most:
            return []
        if self._words < _CERTAIN_WORDS and self._other_language():
            return []
        return self._opened()

    def finish(self, *, ended: bool) -> list[str]:
        """Returns what is held at the end of the attempt; `ended`: it was not cut. Raises as `feed` does."""
        if self.is_open:
            return []
        refusal = self._refusal()
        if refusal is Refusal.CERTAIN or (refusal is Refusal.POSSIBLE and ended and not self._begun):
            raise RefusedError
        return self._opened() if refusal is Refusal.NONE or self._begun else []

    def no_story(self, answer: str) -> None:
        """Takes an answer in which there is no story. Raises RefusedError."""
        if refusal_in(answer) is not Refusal.NONE:
            raise RefusedError

    def _refusal(self) -> Refusal:
        return refusal_in("\n\n".join((self._title, "".join(self._held).strip())))

    def _opened(self) -> list[str]:
        found = self._other_language()
        if found:
            raise OtherLanguageError(found)
        held, self._held, self.is_open = self._held, [], True
        return held

    def _other_language(self) -> str:
        return (
            self._languages.other_language(self._language, "".join(self._held)) if self._languages is not None else ""
        )
