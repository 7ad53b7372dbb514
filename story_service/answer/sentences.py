"""Cuts streamed text into sentences, each as soon as its end is certain."""

from __future__ import annotations

import re
from typing import Final

from servicekit.languages import scripts_of
from servicekit.sentences import SentenceEnds, settled

LOOK_AHEAD: Final = 32
"""Code points after a candidate that decide on an end: a word or two distinguish it from an abbreviation."""
LOOK_BACK: Final = 400
"""Code points before a candidate that decide on an end: a quotation that is open for longer does not count."""
MAX_HELD: Final = 1_000
"""Code points without an end of a sentence after which text is released at a word."""

# Written without blanks: Chinese and Japanese, two characters a word; Thai, Lao, Burmese and Khmer, five.
_IDEOGRAPH: Final = re.compile(r"[\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]")
_UNBROKEN: Final = re.compile(r"[\u0e01-\u0e5b\u0e81-\u0edf\u1000-\u109f\u1780-\u17dd]")
_CHARACTERS_A_WORD: Final = {"CJK": 2, "HIRAGANA": 2, "THAI": 5, "LAO": 5, "MYANMAR": 5, "KHMER": 5}
"""Of scripts without blanks between words."""


class SentenceCutter:
    """Takes the text of one paragraph after the other and returns its sentences.

    However the text is cut into pieces, the sentences are the same: a candidate is decided once, on exactly the window
    from the last end (or `LOOK_BACK` before the candidate) to `LOOK_AHEAD` code points after the candidate or to the
    end of the paragraph.
    """

    def __init__(self, language_code: str) -> None:
        self._ends = SentenceEnds(language_code, look_ahead=LOOK_AHEAD)
        self._pending = ""
        self._scanned = 0

    def feed(self, text: str) -> list[str]:
        """Takes more of the paragraph; returns its sentences, each with the white space before it."""
        self._pending += text
        return self._decide(ended=False)

    def close(self) -> list[str]:
        """Ends the paragraph; returns the rest of it."""
        sentences = self._decide(ended=True)
        rest = self._pending.rstrip()
        self._pending = ""
        self._scanned = 0
        return [*sentences, rest] if rest else sentences

    def _decide(self, *, ended: bool) -> list[str]:
        sentences = []
        while (end := self._next_end(ended=ended)) is not None:
            sentences.append(self._pending[:end])
            self._pending = self._pending[end:]
            self._scanned = 0
        return sentences

    def _next_end(self, *, ended: bool) -> int | None:
        pending = self._pending
        while (candidate := self._ends.candidate(pending, self._scanned)) is not None:
            if candidate.end > MAX_HELD:
                break
            if not ended and not self._ends.is_decidable(pending, candidate):
                return None
            self._scanned = candidate.following
            if self._ends.ends(pending, candidate, back=max(candidate.stop - LOOK_BACK, 0)):
                return candidate.end
        if len(pending) > MAX_HELD + LOOK_AHEAD:
            return _forced_end(pending)
        if candidate is None:
            # What the very end may begin, more text may make a candidate of.
            self._scanned = max(self._scanned, settled(pending))
        return None


def _forced_end(text: str) -> int:
    """Returns an end for text without one: after the last word that fits."""
    for end in range(MAX_HELD, MAX_HELD // 2, -1):
        if text[end].isspace() and not text[end - 1].isspace():
            return end
    return MAX_HELD


def count_words(text: str) -> int:
    """Returns the words of `text`, divided by white space; in scripts without blanks, characters count."""
    ideographs = len(_IDEOGRAPH.findall(text))
    unbroken = len(_UNBROKEN.findall(text))
    rest = _UNBROKEN.sub(" ", _IDEOGRAPH.sub(" ", text)) if ideographs or unbroken else text
    return (
        sum(1 for word in rest.split() if any(map(str.isalnum, word)))
        + ideographs // _CHARACTERS_A_WORD["CJK"]
        + unbroken // _CHARACTERS_A_WORD["THAI"]
    )


def characters_a_word(language_code: str) -> int:
    """Returns the characters that count as a word in a language without blanks; 1 where blanks divide words."""
    return max(_CHARACTERS_A_WORD.get(script, 1) for script in scripts_of(language_code))
