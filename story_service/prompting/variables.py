"""The variables of a template, in which text from people is marked as data."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from offline_writer import Parent
from offline_writer.bands import band_of
from servicekit.languages import is_right_to_left, quotation_marks
from story_service.answer.sentences import characters_a_word
from story_service.assignment import seed_of
from story_service.cleaning import clean
from story_service.passage import scenes_of, words_of
from story_service.prompting.variety import draw, plot_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offline_writer import Protagonist
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
_OUTLINED: Final = ("title", "setting", "companion", "mood", "gift")
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
    words, seed = words_of(assignment.length_minutes), seed_of(assignment)
    passage, planned = assignment.passage, len(assignment.scenes) if len(assignment.scenes) > 1 else 0
    return {
        "folder": folder,
        "kind": assignment.kind,
        "child": _profile(assignment.child, seed=seed),
        "hero": None if assignment.hero is None else _profile(assignment.hero, seed=seed),
        "parent": None if assignment.parent is None else _parent(assignment.parent),
        "wish": Data(assignment.wish, limit=_TEXT),
        "moral": Data(assignment.moral, limit=_LINE),
        "moral_key": _MORAL_KEYS.get(assignment.moral.strip(" .!").casefold(), ""),
        "theme": Data(assignment.theme, limit=_LINE),
        "avoid": _entries(assignment.avoid),
        "audience_note": Data(assignment.audience_note, limit=_TEXT),
        "gentle": assignment.gentle,
        "weak": assignment.weak,
        "language_code": assignment.language_code,
        "regional": "-" in assignment.language_code,
        "quotation": quotation_marks(assignment.language_code),
        "right_to_left": is_right_to_left(assignment.language_code),
        "characters_a_word": characters_a_word(assignment.language_code),
        "band": band_of(assignment.child.age),
        "outline": _outline(assignment),
        "heard": _heard(assignment),
        "length_minutes": assignment.length_minutes,
        "words": words,
        "words_left": passage.left,
        "paragraphs": max(words // _WORDS_PER_PARAGRAPH, 2),
        "planning": passage.plans,
        "scene_count": planned or scenes_of(assignment.length_minutes),
        "scene": passage.scene + 1 if passage.scene is not None and not passage.plans else 0,
        "last_scene": passage.last,
        "continuing": continuing,
        "only_ending": continuing and passage.lacks_only_ending,
        "title_so_far": Data(assignment.title_so_far, limit=_LINE),
        "written_so_far": Data.of_lines(assignment.written_so_far, first=_FIRST, last=_LAST),
    }


def _profile(profile: Listener | Protagonist, *, seed: int) -> dict[str, Any]:
    """Returns every field by its name; text is data, except the gender, which comes from a fixed list.

    The interests begin with another one for another seed, since models take the first.
    """
    given = asdict(profile)
    first = seed % max(len(profile.interests), 1)
    given["interests"] = profile.interests[first:] + profile.interests[:first]
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


def _outline(assignment: Assignment) -> dict[str, Any]:
    outline = draw(assignment)
    scenes = outline.scenes if len(outline.scenes) > 1 else ()
    return {
        "plot": plot_of(outline, assignment.language_code),
        **{name: Data(getattr(outline, name), limit=_LINE) for name in _OUTLINED},
        "scenes": [{"purpose": Data(scene.purpose, limit=_TEXT), "words": scene.words} for scene in scenes],
    }


def _heard(assignment: Assignment) -> dict[str, list[Data]]:
    """Returns the titles, places and companions of the last stories, each once, but nothing of a sequel's parent."""
    parent = assignment.parent or Parent(title="", text="")
    known = f"{parent.title}\n{parent.text}".casefold()

    def texts(field: str) -> list[Data]:
        said = {text.casefold(): text for outline in assignment.heard if (text := str(getattr(outline, field)).strip())}
        return _entries(text for folded, text in said.items() if folded not in known)

    return {f"{field}s": texts(field) for field in ("title", "setting", "companion")}


def _entries(texts: Iterable[str]) -> list[Data]:
    return [entry for entry in (Data(text, limit=_NAME) for text in texts) if entry][:_MOST_ENTRIES]
