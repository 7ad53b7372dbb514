"""Finds the words of a text, and the time of each."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from voice_service.ports import WordTiming

if TYPE_CHECKING:
    from collections.abc import Sequence


# Dashes and ellipses part words even without spaces around them; a hyphen or an apostrophe does not.
_TOKEN: Final = re.compile(r"[^\s\u2012-\u2015\u2026]+")


def word_spans(text: str) -> list[tuple[int, int]]:
    """Returns [start, end) of each word, without the punctuation around it.

    What holds no letter, digit or symbol (a lone quotation mark) is no word; an emoji is one.
    """
    spans = []
    for token in _TOKEN.finditer(text):
        start, end = trim_punctuation(text, token.start(), token.end())
        if start < end:
            spans.append((start, end))
    return spans


def trim_punctuation(text: str, start: int, end: int) -> tuple[int, int]:
    """Narrows [start, end) until it neither begins nor ends with punctuation, space or an invisible character."""
    while start < end and _is_edge(text[start]):
        start += 1
    while start < end and _is_edge(text[end - 1]):
        end -= 1
    return start, end


def _is_edge(character: str) -> bool:
    return unicodedata.category(character)[0] in "PZC"


def word_timings(text: str, marks: Sequence[tuple[int, float]], duration: float) -> tuple[WordTiming, ...]:
    """Gives each word of `text` its time.

    `marks` are (code point, second) where the engine began something. It speaks short words together ("out of the") and
    marks only the first, and it marks the parts of others ("3:30"): a word begins at the first mark in it, or in
    proportion between the marks around it, and ends where the next one begins, the last at `duration`. Marks that go
    backwards or lie outside the text are left out.
    """
    forward = _forward(marks, len(text))
    spans = [part for span in word_spans(text) for part in _split_unspaced(text, span, forward)]
    starts = _starts(spans, forward, len(text), duration)
    ends = [*starts[1:], duration][: len(starts)]
    return tuple(WordTiming(span[0], span[1], start, end) for span, start, end in zip(spans, starts, ends, strict=True))


def _forward(marks: Sequence[tuple[int, float]], length: int) -> dict[int, float]:
    forward: dict[int, float] = {}
    last_position, last_second = -1, 0.0
    for position, second in marks:
        if last_position < position < length and second >= last_second:
            forward[position] = second
            last_position, last_second = position, second
    return forward


def _split_unspaced(text: str, span: tuple[int, int], marks: dict[int, float]) -> list[tuple[int, int]]:
    """Parts a run of Chinese, Japanese or Thai where the engine began a word: there are no spaces to go by."""
    start, end = span
    cuts = [at for at in range(start + 1, end) if at in marks and unicodedata.category(text[at]) == "Lo"]
    edges = [start, *cuts, end]
    parts = [trim_punctuation(text, left, right) for left, right in pairwise(edges)]
    return [(left, right) for left, right in parts if left < right]


def _starts(spans: Sequence[tuple[int, int]], marks: dict[int, float], length: int, duration: float) -> list[float]:
    known = [(0, 0.0)]
    for start, end in spans:
        first = next((at for at in range(start, end) if at in marks), None)
        if first is not None:
            known.append((start, max(known[-1][1], min(marks[first], duration))))
    known.append((length, duration))
    starts = []
    index = 0
    for start, _ in spans:
        while known[index + 1][0] <= start:
            index += 1
        (left, left_second), (right, right_second) = known[index], known[index + 1]
        share = (start - left) / (right - left)
        starts.append(min(right_second, left_second + share * (right_second - left_second)))
    return starts
