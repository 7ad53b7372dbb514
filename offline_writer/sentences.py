"""Counting words and telling sentences apart."""

import re

_BOUNDARY = re.compile(r"(?<=[.!?\u2026])[\"\u201d\u2019\u00bb']*\s+|\n+")
_QUOTES = str.maketrans("", "", '"\u201c\u201d\u00ab\u00bb')


def count_words(text: str) -> int:
    """Words as white space divides them."""
    return len(text.split())


def sentence_keys(text: str) -> list[str]:
    """One key for each sentence, the same for two sentences that a listener would call the same.

    A question in quotation marks and the words that report it count as two.
    """
    keys = (part.translate(_QUOTES).strip().casefold() for part in _BOUNDARY.split(text))
    return [key for key in keys if key]
