"""The lines of an answer: text, and what models put around it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from story_service.answer.chatter import behind_label, is_closing

LINE_HEAD: Final = 64
"""Code points of a line that tell what the line is."""

_FENCE: Final = re.compile(r"(?:`{3,}|~{3,})\s*\w*\s*\Z")
_SEPARATOR: Final = re.compile(r"[\s*_`~#]*(?:[=\uff1d]\s*){2,}[\s*_`~#]*\Z")
_BEHIND_SEPARATOR: Final = re.compile(r"={3,}\s+(?=[^\s=])(?!.*==)")
_DASHES: Final = re.compile(r"(?:-\s*){3,}\Z")
_RULE: Final = re.compile(r"(?:[-*_~\u2022\u00b7\u2014\u2013#\u2042\u2217\u2726]\s*){3,}\Z|#+\s*\Z")
_MARKS_OF_RULE: Final = re.compile(r"[-*_~=\uff1d`\s]*")
_PREFIX: Final = re.compile(r"#{1,6}(?=\s|\*)\s*|>\s+|[*\u2022]\s+")
_EMPHASIS: Final = str.maketrans("", "", "*_`")


class LineKind(Enum):
    """What a line is."""

    TEXT = "text"
    BREAK = "break"
    """Nothing to read: it parts paragraphs."""
    RULE = "rule"
    """A break of dashes, which some models write for `===`."""
    SEPARATOR = "separator"
    """`===`, which we asked for before the summary."""
    SUMMARY = "summary"
    """It begins with a label of a summary."""
    CLOSING = "closing"
    """It is said to the one who asked."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line, or as much of it as there is. `text` is what is read of it, or what follows the separator or label."""

    kind: LineKind
    text: str = ""


def bounded(head: str) -> str:
    """`head` with at most `LINE_HEAD` of the marks of a rule in front: more of them say nothing else."""
    marks = _MARKS_OF_RULE.match(head)
    return head[:LINE_HEAD] + head[marks.end() :] if marks and marks.end() > LINE_HEAD else head


def is_rule_so_far(head: str) -> bool:
    """True where `head` holds nothing but the marks of a rule or a fence."""
    return _MARKS_OF_RULE.fullmatch(head) is not None


def read_line(line: str) -> Line:  # noqa: PLR0911 - a kind each
    """What a line is. It is known as soon as the line has `LINE_HEAD` code points that are not all marks."""
    head, whole = line[:LINE_HEAD], len(line) < LINE_HEAD or is_rule_so_far(line)
    if whole:
        if not head.strip() or _FENCE.match(head):
            return Line(LineKind.BREAK)
        if _SEPARATOR.match(head):
            return Line(LineKind.SEPARATOR)
    behind = behind_label(head, whole=whole)
    if behind is not None:
        return Line(LineKind.SUMMARY, behind + line[LINE_HEAD:])
    if whole and _RULE.match(head):
        return Line(LineKind.RULE if _DASHES.match(head) else LineKind.BREAK)
    separator = _BEHIND_SEPARATOR.match(head)
    if separator is not None:
        return Line(LineKind.SEPARATOR, line[separator.end() :])
    if is_closing(head):
        return Line(LineKind.CLOSING)
    text = spoken(line)
    return Line(LineKind.TEXT, text) if not whole or without_emphasis(text).strip() else Line(LineKind.BREAK)


def spoken(line: str) -> str:
    """`line` without the mark of a heading, a quotation or a bullet in front of it."""
    prefix = _PREFIX.match(line)
    return line[prefix.end() :] if prefix is not None else line


def without_emphasis(text: str) -> str:
    """`text` without asterisks, underscores and backticks; prose has no other use for them."""
    return text.translate(_EMPHASIS)
