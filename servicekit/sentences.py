"""Where sentences end, in the marks of every script."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from sentencex import get_sentence_boundaries  # type: ignore[import-untyped]  # an extension module


def code_points(ranges: str) -> str:
    """Returns the characters of `ranges`, such as "21 203c-203d"."""
    spans = [span.partition("-") for span in ranges.split()]
    return "".join(chr(code) for first, _, last in spans for code in range(int(first, 16), int(last or first, 16) + 1))


# Marks that could be taken for others by eye are written as escapes.
TERMINALS: Final = code_points(
    "21 2e 3f 589 61d-61f 6d4 700-702 7f9 837 839 83d-83e 964-965 104a-104b 1362 1367-1368 166e 1735-1736 17d4-17d5 "
    "1803 1809 1944-1945 1aa8-1aab 1b4e-1b4f 1b5a-1b5b 1b5e-1b5f 1b7d-1b7f 1c3b-1c3c 1c7e-1c7f 2024 203c-203d "
    "2047-2049 2cf9-2cfb 2e2e 2e3c 2e53-2e54 2e60-2e61 3002 a4ff a60e-a60f a6f3 a6f7 a876-a877 a8ce-a8cf a92f "
    "a9c8-a9c9 aa5d-aa5f aaf0-aaf1 abeb fe12 fe15-fe16 fe52 fe56-fe57 ff01 ff0e ff1f ff61 10a56-10a57 10f55-10f59 "
    "10f86-10f89 11047-11048 110be-110c1 11141-11143 111c5-111c6 111cd 111de-111df 11238-11239 1123b-1123c 112a9 "
    "113d4-113d5 1144b-1144c 115c2-115c3 115c9-115d7 11641-11642 1173c-1173e 11944 11946 11a42-11a43 11a9b-11a9c "
    "11c41-11c42 11ef7-11ef8 11f43-11f44 16a6e-16a6f 16af5 16b37-16b38 16b44 16d6e-16d6f 16e98 1bc9f 1da88"
)
"""Unicode's Sentence_Terminal."""
WIDE_STOPS: Final = code_points(
    "104a-104b 17d4-17d5 1aa8-1aab 1b5a-1b5b 1b5e-1b5f 1b7d-1b7f 3002 a9c8-a9c9 aa5d-aa5f fe12 fe15-fe16 fe56-fe57 "
    "ff01 ff0e ff1f ff61"
)
"""Stops of scripts without blanks between words: the next sentence may follow at once."""
STOPS: Final = "".join(mark for mark in TERMINALS if mark not in WIDE_STOPS) + "\u2026"
"""Stops that white space follows."""
_CLOSERS: Final = "\"'»”\u2019\u203a)]}」』\uff09】*_"
# They open quotations in other languages: white space shows that they close one here („Gute Nacht.“ »Gute Nacht.«).
CLOSERS: Final = _CLOSERS + "“\u2018«\u2039"
"""What may stand between a stop and the white space after it."""
CLAUSE_MARKS: Final = ",;:—\u2013!?…،"
"""Marks within a sentence where a reader pauses, before white space."""
WIDE_CLAUSE_MARKS: Final = "、\uff1b\uff0c"
_JOINERS: Final = "\u200d\ufe0e\ufe0f"

_S, _W, _C, _CW = map(re.escape, (STOPS, WIDE_STOPS, CLOSERS, _CLOSERS))
_CANDIDATE: Final = re.compile(
    rf"(?<![{_S}])[{_S}]++(?P<closed>(?:[{_C}]|[ \u00a0\u202f]»(?=\s))*+)(?=\s)"
    rf"|(?<![{_W}])[{_W}]++(?!(?<=\d\uff0e)\d)(?P<wide>[{_CW}]*+)"
    r"|(?P<paragraph>\n[^\S\n]*+(?=\n))"
)
_ROUGHLY: Final = re.compile(rf"[{_S}]++[{_C}]*+(?=\s|\Z)|[{_W}]++[{_CW}]*+")
_WHITE_SPACE: Final = re.compile(r"\s*+(?=\S)")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place where a sentence may end: behind its stops, behind what closes it, and where more text begins.

    With `paragraph` there is an empty line and no stop: it ends in any case.
    """

    stop: int
    end: int
    following: int
    paragraph: bool = False


def sentence_ends(text: str) -> list[int]:
    """Returns where sentences end in `text`, by the marks alone."""
    return [found.end() for found in _ROUGHLY.finditer(text)]


def is_closed(text: str) -> bool:
    """Returns whether `text` ends with a stop, and perhaps what closes it."""
    rest = text.rstrip()
    while rest.endswith(tuple(CLOSERS)):
        rest = rest[:-1].rstrip()
    return rest.endswith(tuple(STOPS + WIDE_STOPS))


_PAUSE_MARKS: Final = {
    script: (stop, comma)
    for scripts, stop, comma in (
        ("CJK IDEOGRAPHIC", "\u3002", "\uff0c"),
        ("HIRAGANA KATAKANA", "\u3002", "\u3001"),
        ("DEVANAGARI BENGALI GURMUKHI ORIYA", "\u0964", ","),
        ("ARABIC", ".", "\u060c"),
        ("ETHIOPIC", "\u1362", "\u1363"),
        ("MYANMAR", "\u104b", "\u104a"),
        ("KHMER", "\u17d4", ","),
        ("ARMENIAN", "\u0589", ","),
        ("TIBETAN", "\u0f0d", "\u0f0d"),
    )
    for script in scripts.split()
}


def pause_marks(letter: str) -> tuple[str, str]:
    """Returns the full stop and the comma of the script that `letter` is of."""
    return _PAUSE_MARKS.get(unicodedata.name(letter, "").partition(" ")[0], (".", ","))


class SentenceEnds:
    """Finds the ends of the sentences of one language in text that grows."""

    def __init__(self, language_code: str, *, look_ahead: int) -> None:
        """`look_ahead` is how many code points behind a candidate decide on it."""
        self._language = language_code.partition("-")[0].lower() or "en"
        self._look_ahead = look_ahead

    def candidate(self, text: str, start: int, end: int | None = None) -> Candidate | None:
        """Returns the first candidate in text[start:end] that more text follows."""
        end = len(text) if end is None else end
        found = _CANDIDATE.search(text, start, end)
        if found is None or (more := _WHITE_SPACE.match(text, found.end(), end)) is None:
            return None
        if found["paragraph"] is not None:
            return Candidate(found.start(), found.end(), more.end(), paragraph=True)
        stop = found.start("closed" if found["closed"] is not None else "wide")
        return Candidate(stop, found.end(), more.end())

    def is_decidable(self, text: str, candidate: Candidate) -> bool:
        """Returns whether `text` has all that decides on `candidate`."""
        return candidate.paragraph or len(text) >= candidate.following + self._look_ahead

    def ends(self, text: str, candidate: Candidate, *, back: int = 0) -> bool:
        """Returns whether a sentence ends at `candidate`, by text[back:] up to the look-ahead."""
        if candidate.paragraph or text[candidate.stop - 1] in _UNJUDGED:
            return True
        window = text[back : candidate.following + self._look_ahead]
        return any(candidate.stop <= back + start <= candidate.following for start in _starts(self._language, window))


def may_part(text: str, position: int) -> bool:
    """Returns whether no character made of several code points spans `position`."""
    before, after = text[position - 1], text[position]
    return not (
        unicodedata.combining(after) or after in _JOINERS or before == "\u200d" or "\U0001f3fb" <= after <= "\U0001f3ff"
    )


def settled(text: str) -> int:
    """Returns how much of `text` holds no candidate, whatever follows."""
    return len(text.rstrip().rstrip(CLOSERS + " \u00a0\u202f").rstrip(STOPS + WIDE_STOPS))


def _starts(language: str, text: str) -> list[int]:
    return [boundary["start_index"] for boundary in get_sentence_boundaries(language, text)]


_UNJUDGED: Final = frozenset(mark for mark in TERMINALS if len(_starts("en", f"Ab ab{mark} Ab ab.")) == 1)
"""Terminals that sentencex does not know."""
