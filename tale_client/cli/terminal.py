"""Text that is safe and pleasant on a terminal."""

import re
import shutil
import sys
import unicodedata
from typing import Final

_UNSAFE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ESCAPE_SEQUENCE: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_TOKENS: Final = re.compile(r"\n|[^\S\n]+|\S+")
_WIDEST: Final = 80


def prepare_streams() -> None:
    """Writes "?" for what the terminal's encoding does not have, where Python would end with a traceback."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def printable(text: str) -> str:
    """`text` without anything that steers a terminal: colours go, other control characters become U+FFFD."""
    return _UNSAFE.sub("\ufffd", _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n")))


def one_line(text: str) -> str:
    """`printable` in one line."""
    return " ".join(printable(text).split())


def width() -> int:
    """Columns to write prose in."""
    return max(20, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns))


def cells(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


class Wrapper:
    """Breaks text into lines of at most `columns`, however it arrives.

    A word is held back until what follows it is known; `flush` gives the last one.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._column = 0
        self._gap = False
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be written now that `text` has come too."""
        text = self._held + text
        # The last word may go on; a break after it shows that it does not.
        end = len(text) if text[-1:].isspace() else max((m.end() for m in re.finditer(r"\s", text)), default=0)
        text, self._held = text[:end], text[end:]
        return "".join(self._place(token) for token in _TOKENS.findall(text))

    def flush(self) -> str:
        """The word that was held back."""
        held, self._held = self._held, ""
        return self._place(held) if held else ""

    @property
    def at_line_start(self) -> bool:
        """True when what was written ends with a line."""
        return self._column == 0

    def _place(self, token: str) -> str:
        if token == "\n":  # noqa: S105 - a token of text
            self._column, self._gap = 0, False
            return token
        if token.isspace():
            self._gap = self._column > 0
            return ""
        size, gap, self._gap = cells(token), " " if self._gap else "", False
        if self._column and self._column + len(gap) + size > self._columns:
            self._column, gap = 0, "\n"
        else:
            self._column += len(gap)
        return gap + self._split(token, size)

    def _split(self, token: str, size: int) -> str:
        if size <= self._columns:
            self._column += size
            return token
        # Writing without spaces, or something endless.
        written: list[str] = []
        for char in token:
            if self._column + cells(char) > self._columns:
                written.append("\n")
                self._column = 0
            written.append(char)
            self._column += cells(char)
        return "".join(written)
