"""Replaces what a pattern finds in a stream of text, however the stream is cut into pieces."""

from __future__ import annotations

import re
from typing import Final

_CONTEXT: Final = 3
"""Code points before a match that a pattern may look back at."""


class Scanner:
    """Takes pieces of text and returns what is certain of them.

    `held` matches, at the end of the text, whatever may be the beginning of a match of `found`: it waits for more. Both
    are bounded, so that a match is the same however the text is cut.
    """

    def __init__(self, found: re.Pattern[str], held: re.Pattern[str], longest: int, sign: re.Pattern[str]) -> None:
        """`longest` is the maximum length of what `held` matches; `sign` matches something in every match of `found`.

        Text without a sign, as most is, is not searched further, which takes a fraction of the time.
        """
        self._found = found
        self._sign = sign
        self._held_pattern = held
        self._longest = longest
        self._held = ""
        self._before = ""

    def feed(self, text: str) -> str:
        """Takes more; returns what is certain of it."""
        text = self._held + text
        held = self._held_pattern.search(text, max(len(text) - self._longest, 0))
        return self._scanned(text, held.start() if held is not None else len(text))

    def finish(self) -> str:
        """Returns what was held at the end of the stream."""
        return self._scanned(self._held, len(self._held))

    def plain(self, text: str) -> str:
        """Returns what replaces text between matches."""
        return text

    def replaced(self, found: re.Match[str]) -> str:
        """Returns what replaces a match."""
        raise NotImplementedError

    def _scanned(self, text: str, certain: int) -> str:
        """Returns what replaces the first `certain` code points, and a match that they begin; holds the others."""
        whole, start = self._before + text, len(self._before)
        end = start + certain
        parts = []
        for found in self._found.finditer(whole, start) if self._sign.search(whole, start) else ():
            if found.start() >= end:
                break
            if found.start() > start:
                parts.append(self.plain(whole[start : found.start()]))
            parts.append(self.replaced(found))
            start = found.end()
        if start < end:
            parts.append(self.plain(whole[start:end]))
        end = max(start, end)
        self._before, self._held = whole[max(end - _CONTEXT, 0) : end], whole[end:]
        return "".join(parts)


def beginnings(*words: str) -> str:
    """Returns a pattern of all beginnings of `words`, at least one code point long."""
    return "(?:" + "|".join(_beginning(word) for word in words) + ")"


def _beginning(word: str) -> str:
    head, rest = re.escape(word[0]), word[1:]
    return f"{head}(?:{_beginning(rest)})?" if rest else head
