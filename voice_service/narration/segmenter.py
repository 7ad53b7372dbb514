"""Cuts a text into segments, by the text alone.

Spans tile the text: each segment ends where the next one's first visible character stands, so white space belongs to
the segment before it, and white space that leads or trails the whole text to the first or the last segment. A text
of white space alone has no segment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from servicekit.sentences import CLAUSE_MARKS, CLOSERS, WIDE_CLAUSE_MARKS, WIDE_STOPS, SentenceEnds, may_part, settled

LOOK_AHEAD: Final = 80
"""Code points beyond a candidate that a cut is decided on."""
MAX_SEGMENT: Final = 600
"""Most code points of a segment less the white space around it; every provider takes as many."""

_CLAUSE_END: Final = re.compile(
    rf"(?:[{CLAUSE_MARKS}]|\n)[{re.escape(CLOSERS)}]*+(?=\s)|[{WIDE_CLAUSE_MARKS}{WIDE_STOPS}]"
)
_EMPTY_LINE: Final = re.compile(r"\n[^\S\n]*\n")
_SOONER: Final = 4
"""Share of the target words with which a segment ends at an empty line: silence of its own follows it."""
_SHORTEST_CLAUSE: Final = MAX_SEGMENT // 4
_WORD: Final = re.compile(r"[぀-ヿ㐀-䶿一-鿿]|[^\W぀-ヿ㐀-䶿一-鿿]+(?:['\u2019-]\w+)*")


@dataclass(frozen=True, slots=True)
class Cut:
    """A segment: code points [start, end) of the whole text, and what stands there; `last` where none follows."""

    start: int
    end: int
    text: str
    last: bool = False


class Segmenter:
    """Takes a text piece by piece and gives its segments as soon as they are decided.

    However the text is cut into pieces, the segments are the same: whether a sentence ends at a candidate is decided
    on exactly the window from the last cut to `LOOK_AHEAD` code points beyond the candidate, or to the end of the
    text, and never revised. The first segment is one sentence; the next aim at 15 and 30 words, then at
    `target_words`, and none is longer than `MAX_SEGMENT`. One ends at an empty line after a quarter of the words, and
    in any case where no sentence ends there: that is a heading or a verse.
    """

    def __init__(self, language_code: str, target_words: int) -> None:
        self._ends = SentenceEnds(language_code, look_ahead=LOOK_AHEAD)
        self._target = target_words
        self._pending = ""
        self._blank: list[str] = []
        self._start = 0
        self._cuts = 0
        self._scanned = 0
        self._accepted = 0

    def push(self, text: str) -> list[Cut]:
        """Takes more of the text; returns the segments that it decides."""
        if not text or text.isspace():
            # White space decides nothing; collected apart so that a long run of it is joined once.
            self._blank.append(text)
            return []
        self._pending = "".join((self._pending, *self._blank, text))
        self._blank.clear()
        return self._decide(ended=False)

    def finish(self) -> list[Cut]:
        """The text has ended; returns the segments that are left."""
        self._pending = "".join((self._pending, *self._blank))
        self._blank.clear()
        cuts = self._decide(ended=True)
        if self._pending and not self._pending.isspace():
            cuts.append(self._cut(len(self._pending)))
        if cuts:
            cuts[-1] = replace(cuts[-1], last=True)
        return cuts

    def _decide(self, *, ended: bool) -> list[Cut]:
        cuts = []
        while (end := self._next_end(ended=ended)) is not None:
            cuts.append(self._cut(end))
        return cuts

    def _cut(self, end: int) -> Cut:
        cut = Cut(self._start, self._start + end, self._pending[:end])
        self._pending = self._pending[end:]
        self._start += end
        self._cuts += 1
        self._scanned = self._accepted = 0
        return cut

    def _next_end(self, *, ended: bool) -> int | None:
        """Where the present segment ends, within the pending text; None while that is undecided."""
        visible = len(self._pending.rstrip())
        lead = len(self._pending) - len(self._pending.lstrip())
        limit = lead + MAX_SEGMENT
        self._scanned = max(self._scanned, lead)
        while (candidate := self._ends.candidate(self._pending, self._scanned, visible)) is not None:
            end = candidate.following
            if len(self._pending[:end].rstrip()) > limit:
                break
            if not ended and not self._ends.is_decidable(self._pending, candidate):
                return None
            self._scanned = end
            if self._ends.ends(self._pending, candidate):
                self._accepted = end
                if candidate.paragraph or self._enough(end, _EMPTY_LINE.search(self._pending, candidate.end, end)):
                    return end
        if visible > limit:
            return self._accepted or self._forced_end(limit)
        if candidate is None:
            # What a stop, or a closing mark after it, has started at the very end may become a candidate yet.
            self._scanned = max(self._scanned, settled(self._pending[:visible]))
        return None

    def _enough(self, end: int, empty_line: re.Match[str] | None) -> bool:
        if self._cuts == 0:
            return True
        target = min(self._target, 15 << min(self._cuts - 1, 16))
        if empty_line is not None:
            target //= _SOONER
        return len(_WORD.findall(self._pending, 0, end)) >= target

    def _forced_end(self, limit: int) -> int:
        """Ends of a segment without a sentence end: at a clause, else at a word, else just before `limit`."""
        text = self._pending
        clauses = [match.end() for match in _CLAUSE_END.finditer(text, limit - MAX_SEGMENT, limit + 1)]
        late = [end for end in clauses if limit - MAX_SEGMENT + _SHORTEST_CLAUSE <= end <= limit]
        if late:
            return _next_visible(text, late[-1])
        if text[limit].isspace():
            return _next_visible(text, limit)
        for end in range(limit, limit - MAX_SEGMENT, -1):
            if text[end - 1].isspace():
                return end
        end = limit
        while end > limit - 32 and not may_part(text, end):
            end -= 1
        return end


def _next_visible(text: str, position: int) -> int:
    while text[position].isspace():
        position += 1
    return position
