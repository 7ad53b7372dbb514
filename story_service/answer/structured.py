"""Reads an answer that is JSON, or the literal of a programming language, instead of plain text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from story_service.answer.markup import unescaped
from story_service.answer.titles import is_title_key
from story_service.answer.tokens import RESTART
from story_service.answer.wording import wording

MAX_STRUCTURED: Final = 400_000
"""Maximum code points of an answer that is held to be read as JSON."""

_MAX_BEFORE: Final = 2_000
_OBJECT: Final = re.compile(r"(?<![^\n])[ \t]{0,8}(?:\{\s{0,40}[\"']|\[\s{0,40}(?:[\"']|\{\s{0,40}[\"']))")
_TEXT: Final = re.compile(r"\s{0,40}\"(?:[^\"\\\n]|\\[^n]){1,400}\\n")
_OBJECT_BEGUN: Final = re.compile(r"(?<![^\n])[ \t]{0,8}(?:\{\s{0,40}|\[\s{0,40}(?:\{\s{0,40})?)?\Z")
_TEXT_BEGUN: Final = re.compile(r"\s{0,40}(?:\"(?:[^\"\\\n]|\\[^n]){0,400}\\?)?")
_BEHIND: Final = r"\s*(?:[:}\]]|,\s*(?:[\"'\[{}\]\d-]|true\b|false\b|null\b|None\b|True\b|False\b|\Z)|\Z)"
_PART: Final = re.compile(
    rf"\"(?P<double>(?:[^\"\\]|\\.|\"(?!{_BEHIND}))*+)(?:\"|\\?\Z)(?P<double_key>\s*:)?"
    rf"|'(?P<single>(?:[^'\\]|\\.|'(?!{_BEHIND}))*+)(?:'|\\?\Z)(?P<single_key>\s*:)?"
    r"|(?P<open>[{\[])|(?P<close>[}\]])",
    re.DOTALL,
)
_NUMBER: Final = re.compile(r"[\d_\s]+")
_NO_STORY: Final = wording("no_story")
_PLAIN_KEY: Final = re.compile(r"[a-z_][\w-]*|(?:[A-Z]\w*[ _-])?(?:Story|Text|Content|Body|Answer|Response|Output)|\W*")
"""The name of a field: any other key is a title."""
_SHARE: Final = 3
"""A text beside the longest one is a part of the story from this part of its length on."""
_MAX_TITLE: Final = 120


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text in the answer. `path` is its keys, without numbers; `listed` is True within a list of objects."""

    path: tuple[str, ...]
    key: str
    text: str
    listed: bool


class Structured:
    """Passes text on; an answer that is JSON, in a fence and behind a preamble too, it holds to its end and reads.

    JSON that was cut gives what has come of it. Text after it is left out.
    """

    def __init__(self, *, title_wanted: bool) -> None:
        self._title_wanted = title_wanted
        self._restart()

    def _restart(self) -> None:
        self._plain = False
        self._passed = 0
        self._last = ""
        self._held = ""
        self._parts: list[str] = []
        self._length = 0

    def feed(self, text: str) -> str:
        """Takes more; returns what is certain of it."""
        first, *others = text.split(RESTART)
        fed = [self._fed(first)]
        for other in others:
            self._restart()
            fed += [RESTART, self._fed(other)]
        return "".join(fed)

    def finish(self) -> str:
        """Returns what was held: the title and the story of JSON, in Markdown."""
        held, self._held = self._held, ""
        if not self._parts:
            return held
        text = "".join(self._parts)
        self._parts = []
        return _story(text, title_wanted=self._title_wanted) or text

    def _fed(self, text: str) -> str:
        if self._plain or not text:
            return text
        if self._parts:
            return self._hold(text)
        text = self._held + text
        found = None if self._passed else _TEXT.match(text)
        if not self._passed and found is None and _TEXT_BEGUN.fullmatch(text):
            self._held = text
            return ""
        whole, start = self._last + text, len(self._last)
        found = found or _OBJECT.search(whole, start)
        begun = _OBJECT_BEGUN.search(whole, start) if found is None else None
        end = found.start() if found is not None else begun.start() if begun is not None else len(whole)
        end = max(end, start) if self._last else end
        self._passed += end - start
        self._plain = self._passed > _MAX_BEFORE
        if self._plain:
            self._held = ""
            return whole[start:]
        self._last, self._held = whole[max(end - 1, 0) : end], whole[end:]
        if found is None:
            return whole[start:end]
        self._held = ""
        return whole[start:end] + (RESTART if end > start or self._passed else "") + self._hold(whole[end:])

    def _hold(self, text: str) -> str:
        self._parts.append(text)
        self._length += len(text)
        if self._length <= MAX_STRUCTURED:
            return ""
        text, self._parts, self._plain = "".join(self._parts), [], True
        return text


def leaves_of(text: str) -> list[Leaf]:
    """Returns the texts of JSON, which may be cut or not quite valid."""
    keys: list[str] = []
    brackets: list[str] = []
    leaves = []
    for part in _PART.finditer(text):
        if part["open"]:
            brackets.append(part["open"])
            keys.append("")
        elif part["close"]:
            if brackets:
                brackets.pop()
                keys.pop()
            if not brackets:
                break
        else:
            value = unescaped(part["double"] if part["double"] is not None else part["single"]).strip()
            if brackets[-1:] == ["{"] and (part["double_key"] or part["single_key"]):
                keys[-1] = value
            else:
                listed = "{" in brackets[brackets.index("[") :] if "[" in brackets else False
                leaves.append(
                    Leaf(tuple(_NUMBER.sub(" ", key).strip() for key in keys), keys[-1] if keys else "", value, listed)
                )
            if not brackets:
                break
    return leaves


def _story(text: str, *, title_wanted: bool, nested: bool = False) -> str:
    """Returns the title, as a heading, and the story: the longest text, whatever its key is; "" where there is none.

    `nested`: `text` is a text of JSON itself, and no JSON is looked for in it.
    """
    leaves = [leaf for leaf in leaves_of(text) if leaf.text]
    told = [leaf for leaf in leaves if not is_title_key(leaf.path[-1:]) and not _no_story(leaf)] or leaves
    lengths: dict[tuple[str, ...], int] = {}
    for leaf in told:
        lengths[leaf.path] = lengths.get(leaf.path, 0) + len(leaf.text)
    if not lengths:
        return ""
    best = max(lengths, key=lambda path: lengths[path])
    parts = {path for path in lengths if path[:-1] == best[:-1] and lengths[path] * _SHARE >= lengths[best]}
    chosen = [
        leaf
        for leaf in leaves
        if leaf.path in parts or (leaf.listed and leaf.path[:-1] == best[:-1] and is_title_key(leaf.path[-1:]))
    ]
    story = "\n\n".join(leaf.text for leaf in chosen)
    if not nested and _OBJECT.match(story):
        return _story(story, title_wanted=title_wanted, nested=True) or story
    title = _title(leaves, best, chosen) if title_wanted else ""
    return f"# {title}\n\n{story}" if title else story


def _title(leaves: list[Leaf], best: tuple[str, ...], chosen: list[Leaf]) -> str:
    """Returns the text of a key for titles, a key that is one, or a short text before the story."""
    others = [leaf for leaf in leaves if leaf not in chosen and len(leaf.text) <= _MAX_TITLE and "\n" not in leaf.text]
    titles = [leaf for leaf in others if is_title_key(leaf.path[-1:])]
    if titles:
        # "name" may be that of a function, whose arguments are the story.
        return max(titles, key=lambda leaf: leaf.path[:-1] == best[:-1]).text
    if not _PLAIN_KEY.fullmatch(chosen[0].key):
        return chosen[0].key
    first = leaves.index(chosen[0])
    before = [leaf for leaf in others if leaves.index(leaf) < first and leaf.path[:-1] == best[:-1]]
    short = [leaf.text for leaf in before if not _no_story(leaf) and (" " in leaf.text or not leaf.text.isascii())]
    return short[-1] if short else ""


def _no_story(leaf: Leaf) -> bool:
    return any(_NO_STORY.search(key) for key in leaf.path[-1:])
