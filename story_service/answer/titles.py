"""Titles as plain text, however a model formats them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from story_service.answer.lines import LineKind, is_announcement, like_title, may_be_announcement, read_line
from story_service.cleaning import clean

MAX_TITLE_LENGTH: Final = 200
"""Maximum code points of a title."""

_LABELS: Final = (
    r"(?:the\s+)?(?:story\s+)?title(?:\s+is)?|titel|titre|título|titolo|tytuł|titlu|başl\u0131k"
    r"|(?:название|заголовок)(?:\s+(?:сказки|истории|рассказа))?|назва(?:\s+казки)?"
    r"|(?:故事)?(?:标题|標題|题目|題目)|タイトル|題名|제목|العنوان|כותרת|शीर्षक"
)
_LABEL: Final = re.compile(rf"(?:{_LABELS})(?:\s*[:\uff1a]\s*|\s+[-\u2013\u2014]\s+)", re.IGNORECASE)
_HEADING: Final = re.compile(r"#{1,6}\s*")
_TRAILING_HEADING: Final = re.compile(r"\s+#+$")
_TAG: Final = re.compile(r"</?(?:title|h[1-6]|b|i|em|strong|u|p|br|data|story)\s*/?>", re.IGNORECASE)
_UNDERLINE: Final = re.compile(r"={2,}\s*([^=]+?)\s*={2,}")
_PAIRS: Final = (("**", "**"), ("__", "__"), ("*", "*"), ("_", "_"), ("`", "`"), ('"', '"'), ("'", "'"))
_QUOTES: Final = (
    ("\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"),
    ("\N{LEFT SINGLE QUOTATION MARK}", "\N{RIGHT SINGLE QUOTATION MARK}"),
    ("\N{DOUBLE LOW-9 QUOTATION MARK}", "\N{LEFT DOUBLE QUOTATION MARK}"),
    ("\N{DOUBLE LOW-9 QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"),
    ("«", "»"),
    ("»", "«"),
    ("\u2039", "\u203a"),
    ("[", "]"),
    ("《", "》"),
    ("〈", "〉"),
    ("「", "」"),
    ("『", "』"),
    ("【", "】"),
)


_FALLBACKS: Final = {
    "de": "Eine Gutenachtgeschichte",
    "es": "Un cuento para dormir",
    "fr": "Une histoire du soir",
    "it": "Una storia della buonanotte",
    "pt": "Uma história para dormir",
    "ru": "Сказка на ночь",
    "uk": "Казка на ніч",
    "ja": "おやすみのおはなし",
    "ko": "잠자리 이야기",
    "nl": "Een verhaaltje voor het slapengaan",
    "pl": "Bajka na dobranoc",
    "tr": "Bir uyku masal\u0131",
    "zh": "睡前故事",
}


def fallback_title(language_code: str) -> str:
    """Returns the title of a story without one, in the story's language if it is known, else in English."""
    return _FALLBACKS.get(language_code.partition("-")[0].lower(), "A Bedtime Story")


def normalise_title(line: str) -> str:
    """Returns the title in a model's title line: without marks, tags, "Title:", quotation marks around it and blanks.

    At most 200 code points, cut at a word where there is one; may be empty.
    """
    title = clean(line)
    while (stripped := _bounded(_undressed(title))) != title:
        title = stripped
    return title


def _undressed(title: str) -> str:
    title = _HEADING.sub("", title, count=1) if title.startswith("#") else title
    title = _TRAILING_HEADING.sub("", " ".join(_TAG.sub(" ", title).split()))
    underline = _UNDERLINE.fullmatch(title)
    title = underline[1] if underline else title
    match = _LABEL.match(title)
    if match:
        title = title[match.end() :]
    for opening, closing in (*_PAIRS, *_QUOTES):
        inner = title[len(opening) : -len(closing)]
        if (
            len(title) >= len(opening) + len(closing)
            and title.startswith(opening)
            and title.endswith(closing)
            and opening not in inner
            and closing not in inner
        ):
            title = inner
        elif title.startswith("**") and opening == "**" and "**" in inner:
            title = title.replace("**", "")
    return title.strip()


def _bounded(title: str) -> str:
    if len(title) <= MAX_TITLE_LENGTH:
        return title
    head, blank, _ = title[: MAX_TITLE_LENGTH + 1].rpartition(" ")
    return head.rstrip() if blank else title[:MAX_TITLE_LENGTH]


_MOST_SKIPPED: Final = 3


@dataclass(frozen=True, slots=True)
class Found:
    """The title as written, "" where the answer has none, and the lines that turned out to be text."""

    title: str
    text: tuple[str, ...] = ()


class TitleFinder:
    """Takes lines until it is known which is the title.

    What introduces a story is left out where a title and a text follow it. What only may introduce it is the title, or
    text, where they do not.
    """

    def __init__(self) -> None:
        self._certain = False
        self._skipped: list[str] = []
        self._blank = False
        self._title = ""

    def take(self, line: str) -> Found | None:
        """Takes a whole line; returns None while the title is not known."""
        kind = read_line(line).kind
        if self._title and kind is LineKind.LABEL:
            return self._without_title(self._title, line)
        if kind in {LineKind.BREAK, LineKind.RULE} or not normalise_title(line):
            self._blank = True
            return None
        return self._decided(line)

    def _decided(self, line: str) -> Found | None:
        if self._title:
            return Found(self._title, (line,))
        if len(self._skipped) < _MOST_SKIPPED and (is_announcement(line) or may_be_announcement(line)):
            self._certain = is_announcement(line)
            self._skipped.append(line.strip())
            self._blank = False
            return None
        if not self._skipped:
            return Found(line.strip())
        if (self._blank or self._certain) and like_title(line, stopped=self._certain):
            self._title = line.strip()
            return None
        return self._without_title(line)

    def missing(self) -> Found:
        """Returns what there is before a line that is too long for a title."""
        if self._title or not self._skipped:
            return Found(self._title)
        return self._without_title()

    def finish(self, line: str) -> Found | None:
        """Returns what there is at the end of the answer, `line` being unfinished; None where no line was complete."""
        if not self._skipped:
            return None
        if self._title and line:
            return Found(self._title, (line,))
        return self._without_title(*filter(None, (self._title, line)))

    def _without_title(self, *text: str) -> Found:
        """Without a title after the introduction, that is the title, or the first line of the text."""
        last = self._skipped[-1]
        if self._certain:
            return Found("", text)
        if last.endswith((":", "\uff1a")):
            return Found("", (last, "", *text) if self._blank else (last, *text))
        return Found(last, text)
