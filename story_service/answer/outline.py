"""Reads an outline from a model's answer: JSON, or lines, each by its shape."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

from offline_writer import Outline, Scene
from servicekit.validation import max_length
from story_service.answer.lines import without_emphasis
from story_service.answer.stream_text import read_text
from story_service.answer.structured import leaves_of
from story_service.cleaning import clean
from tale.common.v1 import common_pb2

_FIELDS: Final = ("setting", "companion", "gift")
"""In the order of the lines in the prompt."""
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in _FIELDS},
        "scenes": {"type": "array", "items": {"type": "string"}},
    },
    "required": [*_FIELDS, "scenes"],
    "additionalProperties": False,
}
"""JSON schema of an outline."""
_LONGEST_PURPOSE: Final = max_length(common_pb2.OutlineScene, "purpose")
_LONGEST: Final = max_length(common_pb2.StoryOutline, "setting")
_ITEM: Final = re.compile(
    r"\W*(?:[^\W\d]{1,12}\s?)?\d{1,2}[^\W\d]?\s*(?:[.):\u3001\uff1a\uff0e]|[-\u2013\u2014]\s)\s*(?=\S)|\s*[-*\u2022]\s+"
)
_LABELLED: Final = re.compile(r"[^\n:\uff1a]{1,40}[:\uff1a]\s*")


def read_outline(answer: str) -> Outline:
    """Returns the outline in `answer`, its scenes without words; one without scenes where it has none."""
    text = read_text(answer, structured=False)
    begin = text.find("{")
    found = _of_json(text[begin:]) if begin >= 0 else None
    return found if found is not None and found.scenes else _of_lines(text)


def repeats_outline(line: str, outline: Outline) -> bool:
    """Returns whether a line is one of the outline that the model was given, with its label or number, or without."""
    text = without_emphasis(line)
    label, item = _LABELLED.match(text), _ITEM.match(text)
    value = text[label.end() :].strip() if label is not None else ""
    told = {_letters(scene.purpose) for scene in outline.scenes}
    named = {_letters(each) for each in (outline.setting, outline.companion, outline.mood, outline.gift)}
    rest = {_letters(text), _letters(text[item.end() :] if item is not None else "")}
    return bool((rest & told) - {""}) or (bool(value) and _letters(value) in {"", *told, *named})


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def shared_out(outline: Outline, *, most: int, words: int) -> Outline:
    """Returns the outline with at most `most` scenes, which share the words; with less than half, they are empty.

    One scene more than that is the first, which is written already; of more scenes, neighbours become one.
    """
    scenes = outline.scenes
    if len(scenes) == most + 1:
        scenes = scenes[1:]
    if len(scenes) > most:
        bounds = [len(scenes) * at // most for at in range(most + 1)]
        groups = (scenes[start:end] for start, end in pairwise(bounds))
        scenes = tuple(Scene(purpose=" ".join(scene.purpose for scene in group)) for group in groups)
    if 2 * len(scenes) < most:
        outline, scenes = Outline(), (Scene(),) * most
    return replace(
        outline,
        scenes=tuple(
            Scene(purpose=scene.purpose[:_LONGEST_PURPOSE], words=round(words / len(scenes))) for scene in scenes
        ),
    )


def _of_json(text: str) -> Outline:
    named: dict[str, str] = {}
    lists: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for leaf in leaves_of(text):
        key = leaf.key.casefold()
        if len(leaf.path) == 1 and key in _FIELDS:
            named.setdefault(key, leaf.text)
        elif len(leaf.path) > 1:
            lists[leaf.path].append(leaf.text)
    # Of scenes that are objects, the part that says most.
    scenes: Sequence[str] = max(lists.values(), key=lambda texts: sum(map(len, texts)), default=())
    return _outline(named, scenes)


def _of_lines(text: str) -> Outline:
    before: list[str] = []
    scenes: list[str] = []
    for line in filter(None, map(str.strip, without_emphasis(text).splitlines())):
        item = _ITEM.match(line)
        if item is not None:
            scenes.append(line[item.end() :])
        elif not scenes:
            before.append(line)
    labels = [_LABELLED.match(line) for line in before]
    values = [line[label.end() :] for line, label in zip(before, labels, strict=True) if label is not None]
    # A line that is missing would make each the one before it; the title may stand before them.
    named = dict(zip(_FIELDS, values[-len(_FIELDS) :], strict=False)) if len(values) >= len(_FIELDS) else {}
    return _outline(named, scenes)


def _outline(named: dict[str, str], scenes: Sequence[str]) -> Outline:
    values = {
        name: text if any(map(str.isalnum, text := clean(value)[:_LONGEST])) else "" for name, value in named.items()
    }
    purposes = filter(None, map(clean, scenes))
    return Outline(scenes=tuple(Scene(purpose=purpose) for purpose in purposes), **values)
