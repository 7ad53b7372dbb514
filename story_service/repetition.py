"""Notices when a text goes round in circles, before what it says again is let out."""

from collections import Counter
from typing import Final

from story_service.wording import sentences

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
