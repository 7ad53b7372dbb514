"""What models put around a story: rules, headings, fences, labels, chatter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

LINE_HEAD: Final = 64
"""Code points of a line that tell what the line is."""

_LABELS: Final = (
    # English, Russian, and the words that models use when they write in other languages.
    "summary",
    "story summary",
    "short summary",
    "brief summary",
    "two-sentence summary",
    "summary of the story",
    "summary for a sequel",
    "summary for sequels",
    "summary for the sequel",
    "synopsis",
    "краткое содержание",
    "краткое содержание сказки",
    "краткое содержание истории",
    "краткий пересказ",
    "краткое изложение",
    "содержание",
    "резюме",
    "стислий зміст",
    "короткий зміст",
    "zusammenfassung",
    "kurze zusammenfassung",
    "résumé",
    "resumen",
    "resumo",
    "riassunto",
    "samenvatting",
    "streszczenie",
    "sammanfattning",
    "özet",
    "摘要",
    "概要",
    "总结",
    "故事梗概",
    "あらすじ",
    "要約",
    "요약",
    "줄거리",
    "الملخص",
    "ملخص",
    "תקציר",
    "सारांश",
)
_DRESS: Final = r"[\s#*_>`=~-]*"
_ANY_LABEL: Final = "|".join(sorted(map(re.escape, _LABELS), key=len, reverse=True))
_LABEL: Final = re.compile(
    rf"{_DRESS}(?:{_ANY_LABEL})[\s*_`]*(?:[:\uff1a][\s*_`]*|[=-]*\Z)",
    re.IGNORECASE,
)
_FENCE: Final = re.compile(r"(?:`{3,}|~{3,})\s*\w*\s*\Z")
_SEPARATOR: Final = re.compile(r"={3,}\s*\Z")
_RULE: Final = re.compile(r"(?:[-*_~\u2022\u00b7\u2014\u2013#\u2042\u2217\u2726]\s*){3,}\Z|#+\s*\Z")
_RULE_HEAD: Final = re.compile(r"[-*_~=`\s]*")
_PREFIX: Final = re.compile(r"#{1,6}(?=\s|\*)\s*|>\s+|[*\u2022]\s+")
_MARKS: Final = frozenset("#=-*_`>~\u2022\u00b7\u2014\u2013\u2042\u2217\u2726")
_BARE: Final = " \t#*_>`~-"
_EMPHASIS: Final = str.maketrans("", "", "*_`")

_YES: Final = (
    r"sure(?: thing)?|certainly|of course|absolutely|gladly|okay|ok|with pleasure|understood|here you go"
    "|конечно|разумеется|хорошо|отлично|с удовольствием|с радостью|держите"  # noqa: RUF001 - Russian
)
_ANNOUNCEMENT: Final = (
    r"here(?:['\u2019]s| is| it is| comes)|below is|i['\u2019]d be (?:happy|glad|delighted)|i['\u2019]ll|let me"
    "|the story continues|continuing|вот|ниже|да|продолжаю|продолжение|сказка продолжается"
)
_WORK: Final = r"\b(?:story|tale|continuation|сказк\w*|истори\w*|продолжени\w*)\b"
_CHATTER: Final = re.compile(
    rf"{_DRESS}(?:{_YES}|{_ANNOUNCEMENT})\b[^\n]*:[\s*_]*\Z"
    rf"|{_DRESS}(?:{_YES}|{_ANNOUNCEMENT})\b[^\n]*{_WORK}[^\n]*[.!\u2026][\s*_]*\Z"
    rf"|{_DRESS}(?:{_YES})[\s*_]*[.!\u2026,][\s*_]*\Z",
    re.IGNORECASE,
)


class LineKind(Enum):
    """What a line is."""

    TEXT = "text"
    BREAK = "break"
    """Nothing to read: it parts paragraphs."""
    SEPARATOR = "separator"
    """`===`, which we asked for before the summary."""
    SUMMARY = "summary"
    """It begins with a label of a summary."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line, or as much of it as there is, without what dressed it."""

    kind: LineKind
    text: str = ""


def is_open(head: str) -> bool:
    """True while a line that begins with `head` (no white space in front) may turn out to be more than text."""
    if not head or head[0] in _MARKS:
        return True
    bare = head.lstrip(_BARE).casefold()
    return any(label.startswith(bare) or bare.startswith(label) for label in _LABELS)


def bounded(head: str) -> str:
    """`head` with at most `LINE_HEAD` of the marks of a rule in front: more of them say nothing else."""
    marks = _RULE_HEAD.match(head)
    return head[:LINE_HEAD] + head[marks.end() :] if marks and marks.end() > LINE_HEAD else head


def is_rule_so_far(head: str) -> bool:
    """True where `head` holds nothing but the marks of a rule or a fence."""
    return _RULE_HEAD.fullmatch(head) is not None


def read_line(head: str, *, whole: bool) -> Line:
    """What a line is that begins with `head`; `whole` where that is all of it."""
    if whole:
        if not head.strip() or _FENCE.match(head):
            return Line(LineKind.BREAK)
        if _SEPARATOR.match(head):
            return Line(LineKind.SEPARATOR)
    label = _LABEL.match(head)
    if label is not None:
        return Line(LineKind.SUMMARY, head[label.end() :])
    if whole and _RULE.match(head):
        return Line(LineKind.BREAK)
    return Line(LineKind.TEXT, _PREFIX.sub("", head, count=1) if head[:1] in _MARKS else head)


def is_chatter(line: str) -> bool:
    """True for what a model says to the one who asks: "Sure! Here is a story:"."""
    return _CHATTER.match(line) is not None


def without_emphasis(text: str) -> str:
    """`text` without asterisks, underscores and backticks; prose has no other use for them."""
    return text.translate(_EMPHASIS)


def without_label(text: str) -> tuple[str, bool]:
    """`text` without the label of a summary at its beginning, and whether there was one."""
    first, newline, rest = text.lstrip().partition("\n")
    label = _LABEL.match(first)
    if label is None:
        return text, False
    return first[label.end() :] + newline + rest, True
