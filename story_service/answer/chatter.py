"""What a model says to the one who asks: before and behind a story, and as labels of its parts."""

from __future__ import annotations

import re
from typing import Final

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
_STOP: Final = re.compile(r"(?<![.!?\u2026])[.!?\u2026\u3002\uff01\uff1f]+[\"'\u201d\u00bb\u2019*_]*(?=\s+\S)")
_DRESSED: Final = re.compile(r"[#*_\"'\u201c\u201e\u00ab\u300a\u300c\u300e\u3010\[<]|[\w ]{3,20}[:\uff1a]\s?\S")
_MOST_WORDS: Final = 12
_MOST_CHARACTERS: Final = 100
_STOPS: Final = (".", "\u2026", "\u3002")
_SPEECH: Final = ("\u2014", "\u2013", "-")


def is_announcement(line: str) -> bool:
    """True for what is certainly said before a story: "Sure! Here is a story:"."""
    return _ANNOUNCEMENT.match(line) is not None


def may_be_announcement(line: str) -> bool:
    """True for what could as well be a title ("Of course!"), or be said in any language ("Gerne! Hier ist sie:")."""
    return _PERHAPS.match(line) is not None


def is_resumption(line: str) -> bool:
    """True for what is said before a story goes on: "Here is the rest of the story:"."""
    return _RESUMING.match(line) is not None


def is_closing(head: str) -> bool:
    """True for the beginning of what is said behind a story: "I hope Mia enjoys this story!"."""
    return _CLOSING.match(head) is not None


def like_title(line: str, *, stopped: bool) -> bool:
    """True for a line that looks like a title and not like the first sentences of a text.

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


_ENGLISH: Final = (
    r"(?:(?:here is |here['\u2019]s |in )?(?:a |the )?(?:short |brief |quick |final )?(?:(?:two|2)[- ]sentence )?"
    r"(?:story |plot |sequel )?(?:summary|synopsis|recap)|tl;dr)"
)
_ENGLISH_OF: Final = r"(?: (?:of|for|in) (?:[\w-]+ ){0,3}(?:story|tale|sequels?|writers?|sentences))?"
_SPACED: Final = (
    "(?:(?:краткое |короткое )(?:содержание|изложение|резюме|описание)|краткая сводка|(?:краткий |короткий )пересказ"
    "|(?:стислий |короткий )зміст|(?:kurze |kurz)?(?:zusammenfassung|inhaltsangabe)|(?:court |bref )?résumé"
    "|(?:breve )?(?:resumen|resumo|riassunto|sinopsis|sinopse)|(?:korte )?samenvatting|(?:krótkie )?streszczenie"
    "|(?:kort )?sammanfattning|(?:k\u0131sa )?özet|الملخص|ملخص|תקציר|सारांश)"
)
_SPACED_OF: Final = r"(?: [^\s:\uff1a.!?]+){0,4}"
# Everyday words of Russian: only what says that they speak of a story may stand between them and the colon.
_EVERYDAY: Final = "(?:содержание|изложение|резюме|пересказ|(?:краткий |короткий )?итог|кратко|вкратце)"
_EVERYDAY_OF: Final = (
    r"(?: (?:сказки|истории|рассказа|для (?:[\w-]+ )?(?:продолжения|сказки|истории)|в двух предложениях))?"
)
# Written without blanks, so that what it is of stands before it.
_UNSPACED: Final = (
    r"[^\s:\uff1a\u3002\uff0c\u3001()\[\]]{0,8}"
    "(?:摘要|概要|总结|總結|梗概|あらすじ|要約|요약|줄거리)"
)
_NAME: Final = rf"(?:{_ENGLISH}{_ENGLISH_OF}|{_SPACED}{_SPACED_OF}|{_UNSPACED}|{_EVERYDAY}{_EVERYDAY_OF})"
_LABEL: Final = re.compile(
    rf"{_DRESS}(?P<bracket>[(\[\uff08\u3010][\s*_]*)?"
    rf"(?:{_NAME}(?:\s?\([^:)\n]{{1,40}}\))?[\s*_`]*[:\uff1a]"
    rf"|(?:{_ENGLISH}|{_SPACED})[\s*_`]+[-\u2013\u2014]\s"
    rf"|(?<=[(\[\uff08\u3010]){_NAME}[\s*_]*[)\]\uff09\u3011](?P<closed>)[\s*_`]*[:\uff1a]?"
    rf"|{_NAME}(?:\s?\([^:)\n]{{1,40}}\))?[\s*_`]*[=-]*(?P<heading>\Z))[\s*_`]*",
    re.IGNORECASE,
)
_CLOSINGS: Final = re.compile(r"[)\]\uff09\u3011][\s*_`]*\Z")


def behind_label(head: str, *, whole: bool) -> str | None:
    """What follows the label that `head` begins with, None where it begins with none.

    `whole` where `head` is all of its line; a label without a colon is a line of its own.
    """
    label = _LABEL.match(head)
    if label is None or (label["heading"] is not None and not whole):
        return None
    return head[label.end() :]


def without_label(line: str, *, head: int) -> str:
    """`line`, whole, without a label in its first `head` code points, and without the brackets around both."""
    label = _LABEL.match(line[:head])
    if label is None or (label["heading"] is not None and len(line) > head):
        return line
    rest = line[label.end() :]
    return _CLOSINGS.sub("", rest) if label["bracket"] and label["closed"] is None else rest
