"""Where the words of a text stand, as code points."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Dashes and ellipses part words even without spaces around them; a hyphen or an apostrophe does not.
_TOKEN: Final = re.compile(r"[^\s\u2012-\u2015\u2026]+")


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return [start, end) of each word, without the punctuation around it.

    What holds no letter, digit or symbol (a lone quotation mark) is no word; an emoji is one.
    """
    spans = []
    for token in _TOKEN.finditer(text):
        start, end = trim_punctuation(text, token.start(), token.end())
        if start < end:
            spans.append((start, end))
    return spans


def trim_punctuation(text: str, start: int, end: int) -> tuple[int, int]:
    """Narrow [start, end) until it neither begins nor ends with punctuation, space or an invisible character."""
    while start < end and _is_edge(text[start]):
        start += 1
    while start < end and _is_edge(text[end - 1]):
        end -= 1
    return start, end


def _is_edge(character: str) -> bool:
    return unicodedata.category(character)[0] in "PZC"
