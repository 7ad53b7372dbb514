"""Notices when a text goes round in circles, before what it says again is let out."""

from typing import Final

from story_service.wording import sentences

_MOST_SENTENCES: Final = 5
_MOST_WORDS: Final = 40


class RepeatedError(Exception):
    """The text says again what it has said already."""


class RepetitionGuard:
    """Lets text through, and holds what was said before until it is known to be a refrain and no circle.

    A refrain is short: five sentences in a row, or forty words, that all were there before are a circle.
    """

    def __init__(self, written: str) -> None:
        """`written` is what was said already."""
        self._seen = set(sentences(written))
        self._held: list[str] = []
        self._sentences = 0
        self._words = 0

    def feed(self, text: str) -> list[str]:
        """What may be let out now that `text`, one or more whole sentences, has come. Raises RepeatedError."""
        self._held.append(text)
        again = True
        for sentence in sentences(text):
            if sentence in self._seen:
                self._sentences += 1
                self._words += len(sentence)
                if self._sentences >= _MOST_SENTENCES or self._words >= _MOST_WORDS:
                    raise RepeatedError
            else:
                self._seen.add(sentence)
                self._sentences = self._words = 0
                again = False
        return [] if again else self.finish()

    def finish(self) -> list[str]:
        """What is held still: the text ends with a refrain."""
        held, self._held = self._held, []
        return held
