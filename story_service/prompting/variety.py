"""Draws a story's plot shape, place and mood, different from those of the child's last stories."""

from __future__ import annotations

import random
import re
import tomllib
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from offline_writer import Outline
from story_service.assignment import Assignment, seed_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_HEARD: Final = 20
"""Stories from which a new one differs."""

_KNOWN: Final[dict[str, Any]] = tomllib.loads((files(__package__) / "variety.toml").read_text("utf-8"))
_GENERAL: Final = "en"
_Words: TypeAlias = "dict[str, set[str]]"
_WORD: Final = re.compile(r"\b(?!(?:the|and|with|from|for)\b)\w{3,}")
_STEM: Final = 3
_ENDING: Final = 2
"""Letters at its end by which a form of a word may differ from another."""


def draw(assignment: Assignment) -> Outline:
    """Returns the outline that the assignment has, or plot shape, place and mood drawn by its seed, and a first scene.

    That of the embedded writer says nothing to a model. Nothing is drawn that one of the last stories had, and no place
    or mood that has a word of `avoid`.
    """
    given = assignment.outline
    if given is not None and (assignment.written_so_far or not any(scene.key for scene in given.scenes)):
        return given
    heard = assignment.heard[:MOST_HEARD]
    language = _language(assignment.language_code)

    def drawn(kind: str, entries: Sequence[Sequence[str]], texts: Iterable[str]) -> Sequence[str]:
        unlike = [(text.casefold(), _words(text)) for text in texts]
        avoided = [*map(_words, assignment.avoid)]
        ranks = [_rank(entry, unlike, avoided) for entry in entries]
        free = [entry for entry, rank in zip(entries, ranks, strict=True) if rank == min(ranks)]
        return random.Random(f"{seed_of(assignment)} {kind}").choice(free)

    def text(kind: str, texts: Iterable[str]) -> str:
        by_language: dict[str, list[str]] = _KNOWN[kind]
        entry = drawn(kind, [*zip(*by_language.values(), strict=True)], texts)
        return entry[list(by_language).index(language)]

    shapes = [(key,) for key in _KNOWN["shapes"]]
    return Outline(
        plot_shape=drawn("shapes", shapes, [each.plot_shape for each in heard])[0],
        setting=text("settings", [each.setting for each in heard]),
        mood=text("moods", [each.mood for each in heard]),
        scenes=assignment.scenes,
    )


def plot_of(outline: Outline, language_code: str) -> str:
    """Returns the plot of an outline in a sentence for a prompt; "" for a shape that the embedded writer alone has."""
    return str(_KNOWN["shapes"].get(outline.plot_shape, {}).get(_language(language_code), ""))


def _language(language_code: str) -> str:
    language = language_code.partition("-")[0].lower()
    return language if language in _KNOWN["settings"] else _GENERAL


def _words(text: str) -> _Words:
    """Returns the words of `text` by their first letters."""
    words: _Words = {}
    for word in _WORD.findall(text.casefold()):
        words.setdefault(word[:_STEM], set()).add(word)
    return words


def _rank(entry: Sequence[str], unlike: Sequence[tuple[str, _Words]], avoided: Sequence[_Words]) -> tuple[int, ...]:
    """Returns whether an entry, in any language, has an avoided word, is one of `unlike`, and shares words with it."""
    own, words = [text.casefold() for text in entry], _words(" ".join(entry))
    return (
        any(_share(words, one) for one in avoided),
        any(text in own for text, _ in unlike),
        sum(_share(words, others) for _, others in unlike),
    )


def _share(words: _Words, others: _Words) -> bool:
    return any(
        abs(len(one) - len(other)) <= _ENDING and one.startswith(other[: max(len(other) - _ENDING, _STEM)])
        for stem in words.keys() & others.keys()
        for one in words[stem]
        for other in others[stem]
    )
