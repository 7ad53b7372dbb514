"""What people wrote, on its way into a prompt: data, and recognisable as such."""

from __future__ import annotations

import re
from typing import Final

from story_service.cleaning import clean

_OPENING: Final = "<data>"
_CLOSING: Final = "</data>"
# Angle brackets of any width become quotation marks, so that nothing in the text can open or close the marks.
_ANGLES: Final = str.maketrans(
    dict.fromkeys("<\uff1c\ufe64\u2329\u27e8\u3008", "\u2039")
    | dict.fromkeys(">\uff1e\ufe65\u232a\u27e9\u3009", "\u203a")
)
_MARKS: Final = re.compile(r"\u2039\s*/?\s*data\s*\u203a", re.IGNORECASE)
_GAP: Final = "\n[\u2026]\n"


class Data:
    """A text that a template can only show between `<data>` and `</data>`, however it does so; false when empty.

    Free of control characters and invisible marks, in NFC, bounded.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str, *, limit: int) -> None:
        """One line of at most `limit` code points."""
        self._text = _cut(_unmarked(clean(text)), limit)

    @classmethod
    def of_lines(cls, text: str, *, first: int, last: int) -> Data:
        """Several lines: at most `first` code points of the beginning and `last` of the end."""
        data = cls("", limit=0)
        lines = _unmarked("\n".join(map(clean, text.splitlines())))
        data._text = lines if len(lines) <= first + last else lines[:first] + _GAP + lines[-last:]
        return data

    def __str__(self) -> str:
        return f"{_OPENING}{self._text}{_CLOSING}"

    def __bool__(self) -> bool:
        return bool(self._text)


def _unmarked(text: str) -> str:
    """`text` without anything that is, or looks like, one of the marks."""
    return _MARKS.sub("\u2039\u203a", text.translate(_ANGLES))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(limit - 1, 0)].rstrip() + "\u2026"
