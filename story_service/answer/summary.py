"""A summary for sequels where the model gave none: made from the text itself, so that no second call is paid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from story_service.answer.sentences import SentenceCutter

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DERIVED_LENGTH: Final = 800
"""Most code points of a derived summary."""

_EDGE: Final = 4_000
"""Code points at either end of the text in which its first and last sentences are looked for."""
_SENTENCES: Final = 2
_MAX_SENTENCE: Final = 195


def derived_summary(text: str, *, language_code: str = "en") -> str:
    """How `text` begins and how it ends, two sentences each, in at most 800 code points; "" for an empty text.

    A story tells at its beginning who it is about and what they set out for, and at its end how it came out.
    """
    if len(text) <= _EDGE:
        sentences = _sentences(text, language_code)
        if len(sentences) <= 2 * _SENTENCES:
            return _joined(sentences)
        first, last = sentences, sentences
    else:
        # The sentence that the edge cuts in two is left out.
        first = _sentences(text[:_EDGE], language_code)[:-1]
        last = _sentences(text[-_EDGE:], language_code)[1:]
    return _joined((*first[:_SENTENCES], *last[-_SENTENCES:]))


def _sentences(text: str, language_code: str) -> list[str]:
    cutter = SentenceCutter(language_code)
    sentences: list[str] = []
    for paragraph in text.split("\n\n"):
        sentences += cutter.feed(" ".join(paragraph.split()))
        sentences += cutter.close()
    return [sentence.strip() for sentence in sentences]


def _joined(sentences: Iterable[str]) -> str:
    return " ".join(map(_bounded, sentences))


def _bounded(sentence: str) -> str:
    if len(sentence) <= _MAX_SENTENCE:
        return sentence
    head = sentence[:_MAX_SENTENCE]
    return (head.rpartition(" ")[0] or head[:-1]).rstrip(" ,;:-\u2013\u2014") + "\u2026"
