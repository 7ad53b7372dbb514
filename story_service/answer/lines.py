"""The lines of an answer: text, and what models put before, around and behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from servicekit.sentences import sentence_ends
from story_service.answer.wording import ABOUT_LENGTH, CLOSING, THE_END, wording

LINE_HEAD: Final = 64
"""Code points of a line that decide what the line is."""

_FENCE: Final = re.compile(r"(?:`{3,}|~{3,})\s*\w*\s*\Z")
_DASHES: Final = re.compile(r"(?:-\s*){3,}\Z|[\s*_`~#]*(?:[=\uff1d]\s*){2,}[\s*_`~#]*\Z")
_RULE: Final = re.compile(r"(?:[-*_~\u2022\u00b7\u2014\u2013#\u2042\u2217\u2726]\s*){3,}\Z|#+\s*\Z")
_MARKS_OF_RULE: Final = re.compile(r"[-*_~=\uff1d`\s]*")
_PREFIX: Final = re.compile(r"#{1,6}(?=\s|\*)\s*|>\s+|[*\u2022]\s+")
_EMPHASIS: Final = str.maketrans("", "", "*_`")
_TABLE: Final = re.compile(r"\|.*\|")
_REFERENCE: Final = re.compile(
    r"\W*(?:\d{1,3}[.)\]:]*\s*)?[^\n]{0,60}\b(?:https?://|www\.)\S|\[\^\d{1,3}\]:?\s"
    r"|[\u00b9\u00b2\u00b3\u2070-\u2079]{1,6}\s"
)
_ASIDE: Final = re.compile(r"[*_]*\[[^\].!?]{1,60}\][*_]*\Z")
_NUMBERED: Final = re.compile(r"\[\d{1,3}\]:?\s")
_ITEM: Final = re.compile(r"[\s>]*(?:[-*+\u2022\u2013]|\(?\d{1,3}[.)\]:]|\[\^?\d{1,3}\]|[a-z]\))\s+\S")
_LABEL: Final = wording("label")
_TURN: Final = wording("turn")
_SPEAKER: Final = re.compile(r"[*_]*[^\W\d_][\w.'\u2019 -]{0,30}[*_]*[:\uff1a][*_]*\s*\S")
_DRESSED: Final = re.compile(r"[#*_\"'\u201c\u201e\u00ab\u300a\u300c\u300e\u3010\[<]|[\w ]{3,20}[:\uff1a]\s?\S")
_MOST_WORDS: Final = 12
_MOST_CHARACTERS: Final = 100
_STOPS: Final = (".", "\u2026", "\u3002")
_SPEECH: Final = ("\u2014", "\u2013", "-")


class LineKind(Enum):
    """What a line is."""

    TEXT = "text"
    BREAK = "break"
    """Nothing to read: it separates paragraphs."""
    FENCE = "fence"
    """The mark of a block of code."""
    RULE = "rule"
    """A break of dashes or equals signs: some models put it before what they add behind a story."""
    LABEL = "label"
    """It begins with the label of a summary, a moral, notes or sources."""
    CLOSING = "closing"
    """"The End", or words to the person who asked."""
    REFERENCE = "reference"
    """An address, a footnote, a row of a table, or a direction such as "[Soft music]"."""
    TURN = "turn"
    """It begins with the name of a speaker of a conversation with a model."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line, or as much of it as there is. `text` is what is read of it, or what follows the label."""

    kind: LineKind
    text: str = ""


def bounded(head: str) -> str:
    """Returns `head` with at most `LINE_HEAD` of the marks of a rule in front: more of them say nothing else."""
    marks = _MARKS_OF_RULE.match(head)
    return head[:LINE_HEAD] + head[marks.end() :] if marks and marks.end() > LINE_HEAD else head


def is_rule_so_far(head: str) -> bool:
    """Returns True where `head` holds nothing but the marks of a rule or a fence."""
    return _MARKS_OF_RULE.fullmatch(head) is not None


def read_line(line: str) -> Line:
    """Returns what a line is. It is known as soon as the line has `LINE_HEAD` code points that are not all marks."""
    head, whole = line[:LINE_HEAD], len(line) < LINE_HEAD or is_rule_so_far(line)
    mark = _mark(head) if whole else None
    if mark is not None:
        return Line(mark)
    label = _LABEL.match(head)
    if label is not None and (label["heading"] is None or whole):
        return Line(LineKind.LABEL, line[label.end() :])
    text = spoken(line)
    turn = _TURN.match(head)
    if CLOSING.match(head) or (whole and (THE_END.match(head) or ABOUT_LENGTH.fullmatch(head))):
        kind = LineKind.CLOSING
    elif _TABLE.match(head) or _REFERENCE.match(head) or (whole and _ASIDE.match(head)):
        kind = LineKind.REFERENCE
    elif turn is not None and (turn["certain"] is None or whole):
        kind = LineKind.TURN
    elif whole and (_RULE.match(head) or not without_emphasis(text).strip()):
        return Line(LineKind.BREAK)
    else:
        kind = LineKind.TEXT
    return Line(kind, text)


def _mark(line: str) -> LineKind | None:
    """Returns what a line without words is; None for other lines."""
    if not line.strip():
        return LineKind.BREAK
    if _FENCE.match(line):
        return LineKind.FENCE
    return LineKind.RULE if _DASHES.match(line) else None


def spoken(line: str) -> str:
    """Returns `line` without the mark of a heading, a quotation or a bullet in front of it."""
    prefix = _PREFIX.match(line)
    return line[prefix.end() :] if prefix is not None else line


def without_emphasis(text: str) -> str:
    """Returns `text` without asterisks, underscores and backticks; prose has no other use for them."""
    return text.translate(_EMPHASIS)


def is_item(line: str) -> bool:
    """Returns True for an item of a list."""
    return _ITEM.match(line) is not None


def is_numbered_source(line: str) -> bool:
    """Returns True for what is a source where the text before it had citations: "[1] Title"."""
    return _NUMBERED.match(line) is not None


def is_certain_turn(line: str) -> bool:
    """Returns True for what cannot be a line of a play: "### Instruction", or "assistant" alone in its line."""
    turn = _TURN.match(line)
    return turn is not None and (turn["certain"] is not None or line.startswith("##"))


def speaker_of(line: str) -> str:
    """Returns the name before the colon of a line of a play, or of a conversation; "" for other lines."""
    head = line[:LINE_HEAD]
    return without_emphasis(head.partition(":")[0]).strip() if _SPEAKER.match(head) else ""


def like_title(line: str, *, stopped: bool) -> bool:
    """Returns True for a line that looks like a title and not like the first sentences of a text.

    `stopped`: it may end with a full stop, where it is short.
    """
    line = line.strip()
    if len(line) > _MOST_CHARACTERS or line.startswith(_SPEECH) or line.endswith((":", "\uff1a")):
        return False
    if _DRESSED.match(line):
        return True
    unstopped = line.rstrip("*_ ")[-1:].isalnum()  # "Dr. Owl and Mr. Mouse"
    if (not unstopped and any(end < len(line) for end in sentence_ends(line))) or (
        not stopped and line.endswith(_STOPS)
    ):
        return False
    return len(line.split()) <= (_MOST_WORDS // 2 if line.endswith(_STOPS) else _MOST_WORDS)
