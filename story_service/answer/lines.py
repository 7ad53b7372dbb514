"""The lines of an answer: text, and what models put before, around and behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

LINE_HEAD: Final = 64
"""Code points of a line that decide what the line is."""

_FENCE: Final = re.compile(r"(?:`{3,}|~{3,})\s*\w*\s*\Z")
_DASHES: Final = re.compile(r"(?:-\s*){3,}\Z|[\s*_`~#]*(?:[=\uff1d]\s*){2,}[\s*_`~#]*\Z")
_RULE: Final = re.compile(r"(?:[-*_~\u2022\u00b7\u2014\u2013#\u2042\u2217\u2726]\s*){3,}\Z|#+\s*\Z")
_MARKS_OF_RULE: Final = re.compile(r"[-*_~=\uff1d`\s]*")
_PREFIX: Final = re.compile(r"#{1,6}(?=\s|\*)\s*|>\s+|[*\u2022]\s+")
_EMPHASIS: Final = str.maketrans("", "", "*_`")

_DRESS: Final = r"[\s#*_>`=~-]*"
_YES: Final = (
    r"(?:sure(?: thing)?|certainly|of course|absolutely|gladly|okay|ok|with pleasure|understood|here you go"
    "|конечно|разумеется|хорошо|отлично|с удовольствием|с радостью|держите)"  # noqa: RUF001 - Russian
)
_HERE: Final = (
    r"(?:here(?:['\u2019]s| is| it is| comes)|below is|i['\u2019]d be (?:happy|glad|delighted)|i['\u2019]ll"
    "|вот|ниже)"
)
_WORK: Final = r"\b(?:story|tale|continuation|сказк\w*|истори\w*|продолжени\w*)\b"
_END: Final = r"[:\uff1a][\s*_]*\Z"
_ANNOUNCEMENT: Final = re.compile(rf"{_DRESS}(?:{_YES}|{_HERE})\b[^\n]*{_WORK}[^\n]*{_END}", re.IGNORECASE)
_PERHAPS: Final = re.compile(
    rf"[^\n]*{_END}"
    rf"|{_DRESS}(?:{_YES}|{_HERE})\b[^\n]*{_WORK}[^\n]*[.!\u2026][\s*_]*\Z"
    rf"|{_DRESS}{_YES}[\s*_]*[.!\u2026,][\s*_]*\Z",
    re.IGNORECASE,
)
_RESUMING: Final = re.compile(
    rf"{_DRESS}(?:{_YES}[\s,.!\u2014-]+)?"
    r"(?:(?:here(?:['\u2019]s| is| comes)|below is|continuing|i['\u2019]ll continue)\b[^\n:]*"
    r"\b(?:story|tale|continuation)\b|the story continues"
    r"|(?:вот|ниже) (?:\w+ )?(?:продолжени\w+|окончани\w+|остаток|конец сказки)"
    "|продолжаю|продолжение|сказка продолжается)"
    rf"[^\n:.!?]*(?:{_END}|[.!\u2026][\s*_]*\Z)",
    re.IGNORECASE,
)
_TELLING: Final = r"\b(?:story|tale|сказк\w*|истори\w*|geschichte|märchen|cuento|historia|histoire|conte)\b"
_CLOSING: Final = re.compile(
    rf"{_DRESS}[(\[]?(?:"
    rf"(?:i (?:really )?hope|ich hoffe|espero que|j['\u2019]espère|надеюсь)\b[^\n.!?]*{_TELLING}"
    r"|(?:please )?let me know if|would you like (?:me to|another|a |any )|feel free to ask"
    r"|дайте знать, если|если (?:хотите|нужно), я|хотите, я|lass mich wissen|lassen sie mich wissen"
    r"|word count\b|\d+ words\)|количество слов\b"
    r")",
    re.IGNORECASE,
)
_THE_END: Final = re.compile(
    rf"{_DRESS}[(\[]?(?:the end|end of (?:the )?(?:story|tale)|fin|ende|koniec|конец(?: сказки)?|кінець|おしまい|完|끝)"
    r"[\s.!\u2026*_)\]]*\Z",
    re.IGNORECASE,
)
_STOP: Final = re.compile(r"(?<![.!?\u2026])[.!?\u2026\u3002\uff01\uff1f]+[\"'\u201d\u00bb\u2019*_]*(?=\s+\S)")
_DRESSED: Final = re.compile(r"[#*_\"'\u201c\u201e\u00ab\u300a\u300c\u300e\u3010\[<]|[\w ]{3,20}[:\uff1a]\s?\S")
_MOST_WORDS: Final = 12
_MOST_CHARACTERS: Final = 100
_STOPS: Final = (".", "\u2026", "\u3002")
_SPEECH: Final = ("\u2014", "\u2013", "-")

# Labels of what models add behind a story: a summary or a moral.
_ENGLISH: Final = (
    r"(?:(?:here is |here['\u2019]s |in )?(?:a |the )?(?:short |brief |quick |final )?(?:(?:two|2)[- ]sentence )?"
    r"(?:story |plot |sequel )?(?:summary|synopsis|recap|moral)|tl;dr)"
)
_ENGLISH_OF: Final = r"(?: (?:of|for|in) (?:[\w-]+ ){0,3}(?:story|tale|sequels?|writers?|sentences)(?: is)?)?"
_SPACED: Final = (
    "(?:(?:краткое |короткое )(?:содержание|изложение|резюме|описание)|краткая сводка|(?:краткий |короткий )пересказ"
    "|(?:стислий |короткий )зміст|(?:kurze |kurz)?(?:zusammenfassung|inhaltsangabe)|(?:court |bref )?résumé"
    "|(?:breve )?(?:resumen|resumo|riassunto|sinopsis|sinopse)|(?:korte )?samenvatting|(?:krótkie )?streszczenie"
    "|(?:kort )?sammanfattning|(?:k\u0131sa )?özet|الملخص|ملخص|תקציר|सारांश|moral(?:e|eja)?)"
)
_SPACED_OF: Final = r"(?: [^\s:\uff1a.!?]+){0,4}"
# Everyday words of Russian: only what says that they speak of a story may stand between them and the colon.
_EVERYDAY: Final = "(?:содержание|изложение|мораль|резюме|пересказ|(?:краткий |короткий )?итог|кратко|вкратце)"
_EVERYDAY_OF: Final = (
    r"(?: (?:(?:этой )?(?:сказки|истории)|рассказа|для (?:[\w-]+ )?(?:продолжения|сказки|истории)"
    "|в двух предложениях))?"
)
# Written without blanks, so that what it is of stands before it.
_UNSPACED: Final = (
    r"[^\s:\uff1a\u3002\uff0c\u3001()\[\]]{0,8}"
    "(?:摘要|概要|总结|總結|梗概|あらすじ|要約|요약|줄거리)"
)
_NAME: Final = rf"(?:{_ENGLISH}{_ENGLISH_OF}|{_SPACED}{_SPACED_OF}|{_UNSPACED}|{_EVERYDAY}{_EVERYDAY_OF})"
_LABEL: Final = re.compile(
    rf"{_DRESS}[(\[\uff08\u3010]?[\s*_]*"
    rf"(?:{_NAME}(?:\s?\([^:)\n]{{1,40}}\))?[\s*_`]*(?:[:\uff1a)\]\uff09\u3011]|(?P<heading>[=-]*\Z))"
    rf"|(?:{_ENGLISH}|{_SPACED})[\s*_`]+[-\u2013\u2014]\s)[\s*_`:\uff1a]*",
    re.IGNORECASE,
)


class LineKind(Enum):
    """What a line is."""

    TEXT = "text"
    BREAK = "break"
    """Nothing to read: it separates paragraphs."""
    RULE = "rule"
    """A break of dashes or equals signs: some models put it before what they add behind a story."""
    LABEL = "label"
    """It begins with the label of a summary or a moral."""
    CLOSING = "closing"
    """"The End", or words to the person who asked."""


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
    if whole and (not head.strip() or _FENCE.match(head)):
        return Line(LineKind.BREAK)
    if whole and _DASHES.match(head):
        return Line(LineKind.RULE)
    label = _LABEL.match(head)
    if label is not None and (label["heading"] is None or whole):
        return Line(LineKind.LABEL, line[label.end() :])
    if _CLOSING.match(head) or (whole and _THE_END.match(head)):
        return Line(LineKind.CLOSING)
    text = spoken(line)
    nothing = whole and (_RULE.match(head) or not without_emphasis(text).strip())
    return Line(LineKind.BREAK) if nothing else Line(LineKind.TEXT, text)


def spoken(line: str) -> str:
    """Returns `line` without the mark of a heading, a quotation or a bullet in front of it."""
    prefix = _PREFIX.match(line)
    return line[prefix.end() :] if prefix is not None else line


def without_emphasis(text: str) -> str:
    """Returns `text` without asterisks, underscores and backticks; prose has no other use for them."""
    return text.translate(_EMPHASIS)


def is_announcement(line: str) -> bool:
    """Returns True for what certainly introduces a story: "Sure! Here is a story:"."""
    return _ANNOUNCEMENT.match(line) is not None


def may_be_announcement(line: str) -> bool:
    """Returns True for what may be a title ("Of course!") or an introduction ("Gerne! Hier ist sie:")."""
    return _PERHAPS.match(line) is not None


def is_resumption(line: str) -> bool:
    """Returns True for what introduces the rest of a story: "Here is the rest of the story:"."""
    return _RESUMING.match(line) is not None


def like_title(line: str, *, stopped: bool) -> bool:
    """Returns True for a line that looks like a title and not like the first sentences of a text.

    `stopped`: it may end with a full stop, where it is short.
    """
    line = line.strip()
    if len(line) > _MOST_CHARACTERS or line.startswith(_SPEECH) or line.endswith((":", "\uff1a")):
        return False
    if _DRESSED.match(line):
        return True
    if _STOP.search(line) or (not stopped and line.endswith(_STOPS)):
        return False
    return len(line.split()) <= (_MOST_WORDS // 2 if line.endswith(_STOPS) else _MOST_WORDS)
