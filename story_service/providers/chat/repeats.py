"""Text that is sent more than once: pieces that each hold all the text so far, and a last one that repeats it all."""

from typing import Final

_SURE: Final = 16
"""So many characters that come again are no coincidence, unless they are one short part again and again."""
_EXTENSIONS: Final = 3
"""So many pieces in a row that each begin with the one before."""
_REPEATED: Final = 20
"""Characters from which on a piece that equals all the text before it may repeat it."""
_EQUAL: Final = 8
"""Most pieces in a row that are held because they equal the first."""
_PERIOD_IN: Final = 64


class Repeats:
    """Passes on the new text of each piece. What may be a repetition is held until that is known; nothing is lost.

    Pieces hold all the text so far where from the first on each begins with the one before: "Ha" and "Ha ha" alone are
    laughter. A piece in mid-text that equals all the text before it is a repetition where no text follows.
    """

    def __init__(self) -> None:
        self.parts: list[str] = []
        """The text that was passed on."""
        self._length = 0
        self._last = ""
        self._extensions = 0
        self._held: list[str] = []
        self._growing = True
        """True as long as each piece began with the one before."""
        self._cumulative = False

    def feed(self, piece: str, *, whole: bool = False) -> str:
        """Returns the new text of `piece`, perhaps none; `whole`: it is a message, which may hold all the text."""
        if self._cumulative:
            return self._extended(piece)
        if self._growing and piece.startswith(self._last) and (self._extensions or len(self._held) < _EQUAL):
            return self._grown(piece)
        self._growing = False
        if not self._held and self._length:
            if whole and self._length >= _REPEATED and piece.startswith(self._text):
                return self._extended(piece)
            if len(piece) >= _REPEATED and self._repeats(piece):
                self._held.append(piece)
                return ""
        return self._passed(piece)

    def finish(self) -> str:
        """Returns what is still held and is no repetition."""
        if not self._held:
            return ""
        last = self._held[-1]
        if self._growing and self._extensions:
            begun = last if self._extensions > 1 else self._text
            cumulative = not _is_periodic(begun) and (self._extensions > 1 or len(begun) >= _REPEATED)
        else:
            cumulative = len(last) >= _REPEATED and not _is_periodic(last)
        if not cumulative:
            return self._passed("")
        self._held.clear()
        return self._extended(last)

    @property
    def length(self) -> int:
        """Characters of the text, with what is held."""
        return self._length + sum(map(len, self._held)) if self._held else self._length

    @property
    def _text(self) -> str:
        return "".join(self.parts)

    def _grown(self, piece: str) -> str:
        """Takes a piece that begins with the one before."""
        if not self._length:
            self._last = piece
            return self._passed(piece)
        self._extensions += len(piece) > len(self._last)
        before, self._last = self._last, piece
        if self._extensions >= _EXTENSIONS and len(before) >= _SURE and not _is_periodic(before):
            self._cumulative = True
            self._held.clear()
            return self._extended(piece)
        self._held.append(piece)
        return ""

    def _extended(self, piece: str) -> str:
        """Returns what `piece` adds to the text, of which it holds all; one that does not is new text."""
        text = self._text
        if piece.startswith(text):
            piece = piece[len(text) :]
        elif text.startswith(piece) or self._repeats(piece):
            return ""
        return self._passed(piece)

    def _repeats(self, piece: str) -> bool:
        """Returns whether `piece` is all the text before it."""
        return abs(len(piece) - self._length) < _SURE and piece.strip() == self._text.strip()

    def _passed(self, piece: str) -> str:
        """Returns `piece` behind what is held."""
        if self._held:
            piece = "".join((*self._held, piece))
            self._held.clear()
        self.parts.append(piece)
        self._length += len(piece)
        return piece


def _is_periodic(text: str) -> bool:
    """Returns whether `text` begins with one part again and again, such as "ha ha ha"."""
    start = text[:_PERIOD_IN]
    return any(start[period:] == start[:-period] for period in range(1, len(start) // 2 + 1))
