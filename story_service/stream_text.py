"""The characters of a streamed answer, before anybody looks for lines and sentences in them."""

from __future__ import annotations

import re
from typing import Final

RESTART: Final = "\x00"
"""Stands in the text where thoughts end that nobody had opened: all that was before them is thought too."""

_HELD: Final = re.compile(r"(?:\r|[\ud800-\udbff]|<[/A-Za-z]{0,12}|=+)\Z")
"""What can not be understood before the next character is there."""
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_LINE_END: Final = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_INVISIBLE: Final = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u202a-\u202e\u2060-\u2069\ue000-\uf8ff\ufeff]"
)
_EQUALS: Final = re.compile(r"={3,}")
_THOUGHT: Final = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)>", re.IGNORECASE)


class StreamText:
    """Takes raw pieces and gives clean text: lines end with one line feed, `===` stands on a line of its own.

    Control characters and invisible marks are gone, and so is what a reasoning model thinks between `<think>` and
    `</think>`. However the answer is cut into pieces, the text is the same.
    """

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False

    def feed(self, text: str) -> str:
        """Take more; returns what is certain of it."""
        text = self._held + _INVISIBLE.sub("", text)
        held = _HELD.search(text, max(len(text) - 13, 0))
        self._held = ""
        if held is not None:
            # A run of three says as much as a longer one, and a bound is a bound.
            start = len(text.rstrip("=")) if held[0].startswith("=") else held.start()
            self._held = text[start:][:3] if held[0].startswith("=") else held[0]
            text = text[:start]
        return self._understood(text)

    def finish(self) -> str:
        """The answer has ended; returns what was held back."""
        text, self._held = self._held, ""
        return self._understood(text)

    def _understood(self, text: str) -> str:
        if _SURROGATE.search(text):
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        text = _LINE_END.sub("\n", text)
        if self._thinking or "<" in text:
            text = self._without_thoughts(text)
        return _EQUALS.sub("\n===\n", text) if "===" in text else text

    def _without_thoughts(self, text: str) -> str:
        kept = []
        start = 0
        for tag in _THOUGHT.finditer(text):
            if not self._thinking:
                kept.append(text[start : tag.start()])
                if tag[1]:
                    kept.append(RESTART)
            self._thinking = not tag[1]
            start = tag.end()
        if not self._thinking:
            kept.append(text[start:])
        return "".join(kept)
