"""Titles as plain text, whichever way a model dressed them."""

import re
from typing import Final

from story_service.cleaning import clean

MAX_TITLE_LENGTH: Final = 200
"""Most code points of a title."""

_PREFIX: Final = re.compile(r"(?:story\s+)?title\s*[:\N{EN DASH}\N{EM DASH}-]\s*|название\s*:\s*", re.IGNORECASE)
_HEADING: Final = re.compile(r"#{1,6}\s*")
_TRAILING_HEADING: Final = re.compile(r"\s+#+$")
_PAIRS: Final = (("**", "**"), ("__", "__"), ("*", "*"), ("_", "_"), ("`", "`"), ('"', '"'), ("'", "'"))
_QUOTES: Final = (
    ("\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"),
    ("\N{LEFT SINGLE QUOTATION MARK}", "\N{RIGHT SINGLE QUOTATION MARK}"),
    ("\N{DOUBLE LOW-9 QUOTATION MARK}", "\N{LEFT DOUBLE QUOTATION MARK}"),
    ("«", "»"),
)


_FALLBACKS: Final = {
    "de": "Eine Gutenachtgeschichte",
    "es": "Un cuento para dormir",
    "fr": "Une histoire du soir",
    "it": "Una storia della buonanotte",
    "pt": "Uma história para dormir",
    "ru": "Сказка на ночь",
    "uk": "Казка на ніч",
}


def fallback_title(language_code: str) -> str:
    """The title of a story whose model gave none, in the language of the story where it is known, else in English."""
    return _FALLBACKS.get(language_code.partition("-")[0].lower(), "A Bedtime Story")


def normalise_title(line: str) -> str:
    """The title in a model's title line: without `#`, `**`, "Title:", quotation marks around it and blanks.

    At most 200 code points, cut at a word where there is one. Empty when nothing is left.
    """
    title = clean(line)
    while (stripped := _undressed(title)) != title:
        title = stripped
    return _bounded(title)


def _undressed(title: str) -> str:
    title = _HEADING.sub("", title, count=1) if title.startswith("#") else title
    title = _TRAILING_HEADING.sub("", title)
    match = _PREFIX.match(title)
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
