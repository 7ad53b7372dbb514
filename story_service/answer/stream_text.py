"""The characters of a streamed answer, cleaned before lines and sentences are read."""

from __future__ import annotations

import re
from typing import Final

RESTART: Final = "\x00"
"""Marks the end of thoughts that had no start: all text before it is thought too."""

_HELD: Final = re.compile(r"(?:\r|[\ud800-\udbff]|<[/A-Za-z1-6 ]{0,12})\Z")
"""What cannot be read before the next character is there."""
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_LINE_END: Final = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_INVISIBLE: Final = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u202a-\u202e\u2060-\u2069\ue000-\uf8ff\ufeff]"
)
_TAG: Final = re.compile(
    r"<(?P<end>/?)(?:(?P<thought>think|thinking|thought|reasoning)|(?P<line>br|hr|div|title|h[1-6]|story)"
    r"|(?P<paragraph>p)|(?P<summary>summary)|data|b|i|u|em|strong|span) ?/?>",
    re.IGNORECASE,
)


class StreamText:
    """Takes raw pieces and returns clean text, whose lines end with one line feed.

    Control characters, invisible marks, the tags of HTML and of the prompt are removed, and so is what a reasoning
    model thinks between `<think>` and `</think>`. However the answer is cut into pieces, the text is the same.
    """

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False

    def feed(self, text: str) -> str:
        """Takes more; returns what is certain of it."""
        text = self._held + _INVISIBLE.sub("", text)
        held = _HELD.search(text, max(len(text) - 13, 0))
        self._held = held[0] if held is not None else ""
        return self._understood(text[: len(text) - len(self._held)])

    def finish(self) -> str:
        """Returns what was held at the end of the answer."""
        text, self._held = self._held, ""
        return self._understood(text)

    def _understood(self, text: str) -> str:
        if _SURROGATE.search(text):
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        text = _LINE_END.sub("\n", text)
        return self._without_tags(text) if self._thinking or "<" in text else text

    def _without_tags(self, text: str) -> str:
        left = []
        start = 0
        for tag in _TAG.finditer(text):
            if not self._thinking:
                left += [text[start : tag.start()], _in_place_of(tag)]
            if tag["thought"]:
                self._thinking = not tag["end"]
            start = tag.end()
        if not self._thinking:
            left.append(text[start:])
        return "".join(left)


def _in_place_of(tag: re.Match[str]) -> str:
    """Returns what replaces a tag."""
    if tag["thought"]:
        return RESTART if tag["end"] else ""
    if tag["summary"]:
        return "\n" if tag["end"] else "\nSummary:\n"
    return "\n\n" if tag["paragraph"] else "\n" if tag["line"] else ""
