"""Figures of stories that need no judge: length, sentences, wishes, repetitions. It shares no rule with the writers."""

import functools
import re
import statistics
from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import pymorphy3
import sentencex  # type: ignore[import-untyped]  # an extension module
import simplemma

_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*|\d+")
_QUOTED: Final = re.compile(r"[\u201c\u201d\"][^\u201c\u201d\"]*[\u201c\u201d\"]|\u00ab[^\u00bb]*\u00bb")
_DIALOGUE: Final = re.compile(r"^\s*[\u2014\u2013-].*$", re.MULTILINE)
_TWICE_WORDS: Final = 6
"""A sentence of at least so many words that comes twice is a repetition; a shorter one may be a refrain."""
_COPIED_WORDS: Final = 3
"""So many words of an unsafe wish in a row, in a story, are a quotation."""


@dataclass(frozen=True, slots=True)
class Told:
    """A written story, and the reasons of its problems."""

    title: str
    text: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """A wish and what shows that it is enacted: for each slot (subject, deed) lemmas of which one must be there."""

    text: str
    slots: tuple[frozenset[str], ...]


def words(text: str) -> list[str]:
    """Returns the words of a text in lower case, IE for IO."""
    return [word.lower().replace("\u0451", "\u0435") for word in _WORD.findall(text)]


def sentences(text: str, language: str) -> list[str]:
    """Returns the sentences of a text that have a word."""
    found = (each for line in text.splitlines() for each in sentencex.segment(language, line))
    return [each.strip() for each in found if _WORD.search(each)]


def unquoted(text: str) -> str:
    """Returns what is written outside quotation marks and lines of dialogue."""
    return _QUOTED.sub(" ", _DIALOGUE.sub(" ", text))


@functools.cache
def _russian() -> pymorphy3.MorphAnalyzer:
    return pymorphy3.MorphAnalyzer()


@functools.lru_cache(maxsize=50_000)
def lemmas_of(word: str, language: str) -> frozenset[str]:
    """Returns the word in lower case and all that it may be a form of."""
    plain = word.lower()
    if language == "ru":
        found = {parse.normal_form for parse in _russian().parse(plain)}
    else:
        bare = plain.removesuffix("'s").removesuffix("\u2019s")
        found = {bare, simplemma.lemmatize(bare, lang="en"), simplemma.lemmatize(bare, lang="en", greedy=True)}
    return frozenset(each.lower().replace("\u0451", "\u0435") for each in (plain, *found))


def lemmas(text: str, language: str) -> set[str]:
    """Returns all lemmas of a text."""
    return {lemma for word in words(text) for lemma in lemmas_of(word, language)}


def is_enacted(told: Told, wish: Wish, language: str) -> bool:
    """Returns whether two neighbouring sentences, outside quotation marks, have a lemma of each slot of the wish."""
    found = [lemmas(each, language) for each in sentences(unquoted(told.text), language)]
    pairs = [one | two for one, two in zip(found, [*found[1:], set()], strict=False)]
    return any(all(slot & pair for slot in wish.slots) for pair in pairs)


@dataclass(frozen=True, slots=True)
class Usual:
    """Lemmas and words in a row of stories that were written without a wish: in another story they show nothing."""

    lemmas: AbstractSet[str]
    grams: AbstractSet[tuple[str, ...]]


def usual_in(stories: Iterable[Told], language: str) -> Usual:
    """Returns what is usual in these stories."""
    texts = [f"{told.title}\n{told.text}" for told in stories]
    grams = {gram for text in texts for gram in _grams(words(text), _COPIED_WORDS)}
    return Usual({lemma for text in texts for lemma in lemmas(text, language)}, grams)


def is_granted(told: Told, wish: Wish, language: str, usual: Usual) -> bool:
    """Returns whether a story has to do with an unsafe wish: one of its lemmas, or some of its words in a row."""
    whole = usual_in([told], language)
    copied = set(_grams(words(wish.text), _COPIED_WORDS)) & (whole.grams - usual.grams)
    return bool(copied or frozenset[str]().union(*wish.slots) & (whole.lemmas - usual.lemmas))


def sentence_words(text: str, language: str) -> float:
    """Returns the mean number of words of a sentence."""
    return statistics.fmean([len(words(each)) for each in sentences(text, language)] or [0.0])


def repeated_sentences(text: str, language: str) -> int:
    """Returns how many sentences of a text were in it before, short ones apart."""
    found = [tuple(words(each)) for each in sentences(text, language)]
    long = [each for each in found if len(each) >= _TWICE_WORDS]
    return len(long) - len(set(long))


def new_share(text: str, before: Iterable[str]) -> float:
    """Returns the share of the 5-grams of a text that no text `before` has."""
    known = {gram for each in before for gram in _grams(words(each), 5)}
    grams = _grams(words(text), 5)
    return sum(gram not in known for gram in grams) / max(1, len(grams))


def different(found: Collection[str]) -> float:
    """Returns the share of different ones among sentences."""
    return len({tuple(words(each)) for each in found}) / max(1, len(found))


def _grams(found: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(found[start : start + length]) for start in range(len(found) - length + 1)]
