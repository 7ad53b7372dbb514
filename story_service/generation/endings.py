"""Judges how an answer ended: by what came of the story, and by the end of the stream."""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from statistics import median
from typing import Final

from servicekit.sentences import CLOSERS, is_closed
from story_service.answer.wording import wording
from story_service.chat import EndMark
from story_service.passage import NEARLY_WHOLE

TOO_SHORT: Final = 0.2
"""Models write half of the requested length now and then; a fifth is no answer to be continued by its model."""


class Verdict(Enum):
    """What follows from the end of an answer."""

    COMPLETE = "complete"
    BROKE_OFF = "broke_off"
    """There is enough of it, but no ending."""
    CUT = "cut"
    OUT_OF_TOKENS = "out_of_tokens"
    FILTERED = "filtered"
    TOO_SHORT = "too_short"
    SHORT = "short"
    """It is extended before its ending."""


def judge(mark: EndMark, *, whole: bool, share: float, added: bool = True, extendable: bool = False) -> Verdict:
    """Returns what became of a passage that has `share` of its requested words; `whole`: its last sentence is.

    `added`: the answer has added to it; `extendable`: another may, before its ending. The text decides, and the mark
    only where the text does not: a model that says that it has finished can have written less than requested, while a
    connection that ends, a maximum of tokens and a filter cut a story anywhere.
    """
    nearly = share >= NEARLY_WHOLE
    match mark:
        case EndMark.NONE:
            return Verdict.BROKE_OFF if nearly and added else Verdict.CUT
        case EndMark.OUT_OF_TOKENS:
            return Verdict.COMPLETE if nearly and whole else Verdict.OUT_OF_TOKENS
        case EndMark.FILTERED:
            return Verdict.COMPLETE if nearly and whole else Verdict.FILTERED
        case EndMark.PROPER | EndMark.UNKNOWN:
            if share < (TOO_SHORT if added else NEARLY_WHOLE):
                return Verdict.TOO_SHORT
            if not nearly and extendable:
                return Verdict.SHORT
            return Verdict.COMPLETE if whole else Verdict.BROKE_OFF


_READ: Final = 4_000
"""Code points of the end of a text that show its shape."""
_SHORT_LINE: Final = 12
_SHORT_CLOSING: Final = 6
_SHORT_NAME: Final = 4
_SHORT_WISH: Final = 8
_WITHOUT_STOPS: Final = re.compile(r"[\u0e00-\u0eff\u0f00-\u0fff]")
"""Thai, Lao and Tibetan have none."""
_OPEN: Final = frozenset(
    ",;:\uff0c\u3001\uff1b\uff1a\u060c\u061b-\u2010\u2011\u2013\u2014([{\u201e\u201a\u300c\u300e\uff08/&"
)
"""After these, a sentence continues."""
_QUOTES: Final = re.compile('["“”„«»「」『』]')
_SYMBOLS: Final = frozenset({"So", "Sk", "Sm", "Sc"})
_JOINERS: Final = "\u200d\ufe0e\ufe0f\u301c"
_SALUTATION: Final = re.compile(r"[^\n]{1,60}[,!:\uff0c\uff01\u060c]\Z")
_GOOD_NIGHT: Final = wording("good_night")


def is_whole(text: str) -> bool:
    """Returns whether `text` ends with a whole sentence, or as texts of its shape end.

    Verse, lists and the signature of a letter have no stops, some scripts have none, and an emoji may stand in place of
    one.
    """
    text = text[-_READ:].rstrip()
    if not text or is_closed(text):
        return bool(text)
    if text[-1] in "」』":
        return True
    bare = text.rstrip(CLOSERS + " \n")
    last = bare[-1:]
    if last in _JOINERS or unicodedata.category(last or " ") in _SYMBOLS:
        return True
    return last not in _OPEN and (_WITHOUT_STOPS.match(last) is not None or _ends_by_shape(text))


def has_paired_quotes(sentence: str) -> bool:
    """Returns whether no quotation is open at the end of `sentence`: one that is cut may end with a stop inside."""
    return len(_QUOTES.findall(sentence)) % 2 == 0


def _ends_by_shape(text: str) -> bool:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last, before = lines[-1], lines[:-1]
    words = len(last.split())
    if words <= _SHORT_WISH and before and is_closed(before[-1]) and _GOOD_NIGHT.match(last):
        return True
    return bool(before) and (_is_signature(last, before) or _is_verse(words, text.rpartition("\n\n")[2], before))


def _is_signature(last: str, before: list[str]) -> bool:
    """Returns whether `last` signs a letter: after "With love,", or where the letter began with a greeting."""
    if len(last.split()) > _SHORT_NAME or last[:1].islower():
        return False
    closing = before[-1]
    if closing.endswith((",", "\uff0c", "\u060c")):
        return len(closing.split()) <= _SHORT_CLOSING
    greeting = before[0]
    return is_closed(closing) and len(greeting.split()) <= _SHORT_CLOSING and bool(_SALUTATION.match(greeting))


def _is_verse(words: int, block: str, before: list[str]) -> bool:
    """Returns whether the lines before one of `words` words are short and mostly without stops, as in verse."""
    inside = [line for line in block.splitlines()[:-1] if line.strip()]
    lines = inside or before[-_SHORT_LINE:]
    lengths = [len(line.split()) for line in lines]
    without = sum(not is_closed(line) for line in lines)
    return (
        (bool(inside) or len(lines) > 1)
        and max(lengths) <= _SHORT_LINE
        and 2 * without >= len(lines)
        and 2 * words >= median(lengths)
    )
