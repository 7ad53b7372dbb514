"""The variables of a template, in which text from people is marked as data."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from offline_writer.bands import band_of
from story_service.cleaning import clean
from story_service.prompting.length import lacks_only_ending, words_asked, words_left

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offline_writer import Parent, Protagonist
    from story_service.assignment import Assignment, Listener


_OPENING: Final = "<data>"
_CLOSING: Final = "</data>"
# Angle brackets of any width become quotation marks, so that nothing in the text can open or close the marks.
_ANGLES: Final = str.maketrans(
    dict.fromkeys("<\uff1c\ufe64\u2329\u27e8\u3008", "\u2039")
    | dict.fromkeys(">\uff1e\ufe65\u232a\u27e9\u3009", "\u203a")
)
_MARKS: Final = re.compile(r"\u2039\s*/?\s*data\s*\u203a", re.IGNORECASE)
_GAP: Final = "\n[\u2026]\n"


class Data:
    """Text that a template can only show between `<data>` and `</data>`; false when empty.

    Free of control characters and invisible marks, in NFC, bounded.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str, *, limit: int) -> None:
        """One line of at most `limit` code points."""
        self._text = _cut(_unmarked(clean(text)), limit)

    @classmethod
    def of_lines(cls, text: str, *, first: int, last: int) -> Data:
        """Returns several lines: at most `first` code points of the beginning and `last` of the end."""
        data = cls("", limit=0)
        lines = _unmarked("\n".join(map(clean, text.splitlines())))
        data._text = lines if len(lines) <= first + last else lines[:first] + _GAP + lines[-last:]
        return data

    def __str__(self) -> str:
        return f"{_OPENING}{self._text}{_CLOSING}"

    def __bool__(self) -> bool:
        return bool(self._text)


def _unmarked(text: str) -> str:
    """Returns `text` without anything that is, or looks like, one of the marks."""
    return _MARKS.sub("\u2039\u203a", text.translate(_ANGLES))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(limit - 1, 0)].rstrip() + "\u2026"


_NAME: Final = 100
_LINE: Final = 200
_TEXT: Final = 2_000
_LIMITS: Final = {"name": _NAME, "appearance": _TEXT}
_MOST_ENTRIES: Final = 20
_FIRST: Final = 4_000
_LAST: Final = 16_000
_PARENT_FIRST: Final = 3_000
_PARENT_LAST: Final = 5_000
"""A story of ten minutes is whole; a longer one loses its middle, since its beginning says who is in it and its end
what came of it. That is about 2,000 tokens in English and 3,500 in Russian: the known model with the smallest context,
8,192 tokens, still has room to answer."""
_WORDS_PER_PARAGRAPH: Final = 70

_MORALS: Final = {
    "kindness": ("доброта",),
    "honesty": ("честность", "правдивость"),
    "bravery": ("courage", "смелость", "храбрость"),
    "friendship": ("дружба",),
    "perseverance": ("упорство", "настойчивость"),
    "empathy": ("сочувствие", "эмпатия", "сопереживание"),
    "respect": ("уважение",),
    "responsibility": ("ответственность",),
}
_MORAL_KEYS: Final = {name: key for key, names in _MORALS.items() for name in (key, *names)}


def variables(assignment: Assignment, *, folder: str, continuing: bool) -> dict[str, Any]:
    """Returns the variables in docs/prompts.md. Text from people is `Data`; `folder` is that of the templates."""
    words = words_asked(assignment)
    return {
        "folder": folder,
        "kind": assignment.kind,
        "child": _profile(assignment.child),
        "hero": None if assignment.hero is None else _profile(assignment.hero),
        "parent": None if assignment.parent is None else _parent(assignment.parent),
        "wish": Data(assignment.wish, limit=_TEXT),
        "moral": Data(assignment.moral, limit=_LINE),
        "moral_key": _MORAL_KEYS.get(assignment.moral.strip(" .!").casefold(), ""),
        "theme": Data(assignment.theme, limit=_LINE),
        "language_code": Data(assignment.language_code, limit=_NAME),
        "regional": "-" in assignment.language_code,
        "band": band_of(assignment.child.age),
        "length_minutes": assignment.length_minutes,
        "words": words,
        "words_left": words_left(assignment),
        "paragraphs": max(words // _WORDS_PER_PARAGRAPH, 2),
        "continuing": continuing,
        "only_ending": continuing and lacks_only_ending(assignment),
        "title_so_far": Data(assignment.title_so_far, limit=_LINE),
        "written_so_far": Data.of_lines(assignment.written_so_far, first=_FIRST, last=_LAST),
    }


def _profile(profile: Listener | Protagonist) -> dict[str, Any]:
    """Returns every field by its name; text is data, except the gender, which comes from a fixed list."""
    given = asdict(profile)
    return {
        name: _entries(value)
        if isinstance(value, tuple)
        else Data(value, limit=_LIMITS.get(name, _LINE))
        if isinstance(value, str) and name != "gender"
        else value
        for name, value in given.items()
    }


def _parent(parent: Parent) -> dict[str, Any]:
    text = Data.of_lines(parent.text, first=_PARENT_FIRST, last=_PARENT_LAST)
    return {"title": Data(parent.title, limit=_LINE), "text": text}


def _entries(texts: Iterable[str]) -> list[Data]:
    return [entry for entry in (Data(text, limit=_NAME) for text in texts) if entry][:_MOST_ENTRIES]
