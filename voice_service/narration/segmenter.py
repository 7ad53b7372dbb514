"""Cuts a text into segments, by the text alone.

Spans tile the text: each segment ends where the next one's first visible character stands, so white space belongs to
the segment before it, and white space that leads or trails the whole text to the first or the last segment. A text
of white space alone has no segment.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from servicekit.sentences import CLOSERS, WIDE_STOPS, SentenceEnds, settled

if TYPE_CHECKING:
    from collections.abc import Sequence


LOOK_AHEAD: Final = 80
"""Code points beyond a candidate that a cut is decided on."""
MAX_SEGMENT: Final = 600
"""Most code points of a segment less the white space around it; every provider takes as many."""

_CLAUSE_MARKS: Final = ",;:—\u2013!?…،"
_WIDE_CLAUSE_MARKS: Final = "、\uff1b\uff0c"
_CLAUSE_END: Final = re.compile(
    rf"(?:[{_CLAUSE_MARKS}]|\n)[{re.escape(CLOSERS)}]*+(?=\s)|[{_WIDE_CLAUSE_MARKS}{WIDE_STOPS}]"
)
_SHORTEST_CLAUSE: Final = MAX_SEGMENT // 4
_WORD: Final = re.compile(r"[぀-ヿ㐀-䶿一-鿿]|[^\W぀-ヿ㐀-䶿一-鿿]+(?:['\u2019-]\w+)*")
_JOINERS: Final = "\u200d\ufe0e\ufe0f"


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
    `target_words`, and none is longer than `MAX_SEGMENT`.
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
                if self._enough(end):
                    return end
        if visible > limit:
            return self._accepted or self._forced_end(limit)
        if candidate is None:
            # What a stop, or a closing mark after it, has started at the very end may become a candidate yet.
            self._scanned = max(self._scanned, settled(self._pending[:visible]))
        return None

    def _enough(self, end: int) -> bool:
        if self._cuts == 0:
            return True
        target = min(self._target, 15 << min(self._cuts - 1, 16))
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
        while end > limit - 32 and not _may_part(text, end):
            end -= 1
        return end


def _next_visible(text: str, position: int) -> int:
    while text[position].isspace():
        position += 1
    return position


def _may_part(text: str, position: int) -> bool:
    """Whether no character made of several code points spans `position`."""
    before, after = text[position - 1], text[position]
    return not (
        unicodedata.combining(after) or after in _JOINERS or before == "\u200d" or "\U0001f3fb" <= after <= "\U0001f3ff"
    )


_LINK: Final = re.compile(r"!?\[(?P<label>[^\[\]\n]{0,400})\]\([^()\s]{0,400}\)")
_MARKS: Final = re.compile(
    r"^[^\S\n]*(?:\#{1,6}(?=\s)|>|[-*+](?=\s)|[-*_=]{3,}[^\S\n]*$)"  # headings, quotations, lists, rules
    r"|\*+|`+|~~+|(?<!\w)_+|_+(?!\w)",
    re.MULTILINE,
)
_ODD: Final = re.compile(r"[^ -~\xa1-\u218f]|[\xad\u20e3]|[#*`~_\[\]]|[^\S ]|  |^[->+=]")
"""Found in whatever may need cleaning; most of a story goes by without."""
_FIRST_SYMBOL: Final = 0x2190
"""Symbols before the arrows (degree, trade mark, …) are read aloud."""
_VARIATION: Final = frozenset("\ufe0e\ufe0f\u20e3")


@dataclass(frozen=True, slots=True)
class SpokenText:
    """`text` as a provider gets it; `positions[i]` is where its code point i stands in the text that it came from."""

    text: str
    positions: Sequence[int]

    @property
    def audible(self) -> bool:
        """False where nothing is left but punctuation."""
        return any(character.isalnum() for character in self.text)

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Where [start, end) of the spoken text stands in the text that it came from; clipped to what there is."""
        start, end = max(0, start), min(end, len(self.positions))
        if start >= end:
            return (0, 0)
        return (self.positions[start], self.positions[end - 1] + 1)


def speakable(text: str) -> SpokenText:
    """Leaves Markdown's marks, emoji and control characters out, and make every run of white space one space or line.

    Numbers and abbreviations are left to the provider.
    """
    plain = text.strip()
    if not _ODD.search(plain):
        start = len(text) - len(text.lstrip())
        return SpokenText(plain, range(start, start + len(plain)))
    return _cleaned(text)


def _cleaned(text: str) -> SpokenText:
    silent = bytearray(len(text))
    for link in _LINK.finditer(text):
        for part in ((link.start(), link.start("label")), (link.end("label"), link.end())):
            _silence(silent, *part)
    for mark in _MARKS.finditer(text):
        _silence(silent, *mark.span())
    spoken: list[str] = []
    positions: list[int] = []
    gap: tuple[str, int] | None = None
    emoji = False
    for position, character in enumerate(text):
        if character.isspace():
            if gap is None:
                gap = (" ", position)
            if character == "\n":
                gap = ("\n", gap[1])
            continue
        emoji = _is_emoji(character) or (emoji and character == "\u200d")
        if silent[position] or emoji or character in _VARIATION or unicodedata.category(character) == "Cc":
            continue
        if gap is not None and spoken:
            spoken.append(gap[0])
            positions.append(gap[1])
        gap = None
        spoken.append(character)
        positions.append(position)
    return SpokenText("".join(spoken), tuple(positions))


def _silence(silent: bytearray, start: int, end: int) -> None:
    silent[start:end] = b"\1" * (end - start)


def _is_emoji(character: str) -> bool:
    code = ord(character)
    return (
        (code >= _FIRST_SYMBOL and unicodedata.category(character) == "So")
        or 0x1F3FB <= code <= 0x1F3FF
        or 0xE0020 <= code <= 0xE007F
    )
