"""What models call the summary of a story, in many languages."""

from __future__ import annotations

import re
from typing import Final

_DRESS: Final = r"[\s#*_>`=~-]*"
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
