"""Cuts streamed text into sentences, each as soon as its end is certain."""

from __future__ import annotations

import re
from typing import Final

from sentencex import get_sentence_boundaries  # type: ignore[import-untyped]  # an extension module

LOOK_AHEAD: Final = 32
"""Code points after a candidate that decide on an end: a word or two distinguish it from an abbreviation."""
LOOK_BACK: Final = 400
"""Code points before a candidate that decide on an end: a quotation that is open for longer does not count."""
MAX_HELD: Final = 1_000
"""Code points without an end of a sentence after which text is released at a word."""

# Marks that could be taken for others by eye are written as escapes.
_STOPS: Final = ".!?\u2026\u061f\u06d4\u0964\u0965"
_WIDE_STOPS: Final = "\u3002\uff01\uff1f\uff61"
_CLOSERS: Final = "\"'»”\u2019\u203a)]}」』\uff09】"
_CLOSER: Final = re.escape(_CLOSERS)
_END: Final = re.compile(
    rf"(?<![{_STOPS}])[{_STOPS}]++(?P<closed>[{_CLOSER}]*+)(?=(?P<gap>\s+)\S)"
    rf"|(?<![{_WIDE_STOPS}])[{_WIDE_STOPS}]++(?P<wide>[{_CLOSER}]*+)(?=(?P<wide_gap>\s*)\S)"
)
# Written without blanks: Chinese and Japanese, two characters a word; Thai, Lao, Burmese and Khmer, five.
_IDEOGRAPH: Final = re.compile(r"[\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]")
_UNBROKEN: Final = re.compile(r"[\u0e01-\u0e5b\u0e81-\u0edf\u1000-\u109f\u1780-\u17dd]")


class SentenceCutter:
    """Takes the text of one paragraph after the other and returns its sentences.

    However the text is cut into pieces, the sentences are the same: a candidate is decided once, on exactly the window
    from the last end (or `LOOK_BACK` before the candidate) to `LOOK_AHEAD` code points after the candidate or to the
    end of the paragraph.
    """

    def __init__(self, language_code: str) -> None:
        self._language = language_code.partition("-")[0].lower() or "en"
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
        while (candidate := _END.search(pending, self._scanned)) is not None:
            end = candidate.end()
            if end > MAX_HELD:
                break
            following = max(candidate.end("gap"), candidate.end("wide_gap"))
            beyond = following + LOOK_AHEAD
            if not ended and len(pending) < beyond:
                return None
            self._scanned = end
            if self._ends_sentence(candidate, following, beyond):
                return end
        if len(pending) > MAX_HELD + LOOK_AHEAD:
            return _forced_end(pending)
        if candidate is None:
            # What the very end may begin, more text may make a candidate of.
            tail = pending.rstrip().rstrip(_CLOSERS).rstrip(_STOPS + _WIDE_STOPS)
            self._scanned = max(self._scanned, len(tail))
        return None

    def _ends_sentence(self, candidate: re.Match[str], following: int, beyond: int) -> bool:
        stop = candidate.start("closed" if candidate["closed"] is not None else "wide")
        back = max(stop - LOOK_BACK, 0)
        starts: list[int] = [
            back + each["start_index"] for each in get_sentence_boundaries(self._language, self._pending[back:beyond])
        ]
        return any(stop <= start <= following for start in starts)


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
    return sum(1 for word in rest.split() if any(map(str.isalnum, word))) + ideographs // 2 + unbroken // 5
