"""What of a text is meant for the ear, and where each spoken character stands in the text."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """Leave Markdown's marks, emoji and control characters out, and make every run of white space one space or line.

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
