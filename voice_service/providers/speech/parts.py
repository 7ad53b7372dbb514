"""Parts of a text that is longer than a server takes, cut where a reader would pause."""

from __future__ import annotations

import re
from typing import Final

from servicekit.sentences import CLAUSE_MARKS, CLOSERS, WIDE_CLAUSE_MARKS, WIDE_STOPS, SentenceEnds, may_part

_LOOK_AHEAD: Final = 80
_CLAUSE: Final = re.compile(rf"[{CLAUSE_MARKS}][{re.escape(CLOSERS)}]*+\s+|\n\s*|[{WIDE_CLAUSE_MARKS}{WIDE_STOPS}]\s*")
_GAP: Final = re.compile(r"\s+")
_SHORTEST_SHARE: Final = 0.25
"""Part of the limit that a part has at least, where it ends at a sentence or a clause."""


def first_part(text: str, most: int, language_code: str) -> int:
    """Returns where the first part of `text` ends, which has at most `most` code points but for white space at its end.

    Behind a sentence, else a clause, else a word, else within one; the last that fits.
    """
    if len(text.rstrip()) <= most:
        return len(text)
    least = most * _SHORTEST_SHARE
    clauses, gaps = ([found.end() for found in each.finditer(text)] for each in (_CLAUSE, _GAP))
    for ends, shortest in ((_sentences(text, language_code), least), (clauses, least), (gaps, 1)):
        fitting = [end for end in ends if shortest <= len(text[:end].rstrip()) <= most]
        if fitting:
            return fitting[-1]
    end = most
    while end > 1 and not may_part(text, end):
        end -= 1
    return end


def _sentences(text: str, language_code: str) -> list[int]:
    ends, found, start = SentenceEnds(language_code, look_ahead=_LOOK_AHEAD), list[int](), 0
    while (candidate := ends.candidate(text, start)) is not None:
        start = candidate.following
        if ends.ends(text, candidate):
            found.append(start)
    return found
