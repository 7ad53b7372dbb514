"""Titles as plain text, however a model formats them, and what stands in place of one, or of an ending."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from typing import Final

from story_service.answer.wording import wording
from story_service.cleaning import clean

MAX_TITLE_LENGTH: Final = 200
"""Maximum code points of a title."""

_LABEL: Final = wording("title_label")
_KEY: Final = wording("title_key")
_HEADING: Final = re.compile(r"#{1,6}\s*")
_TRAILING_HEADING: Final = re.compile(r"\s+#+$")
_TAG: Final = re.compile(r"</?(?:title|h[1-6]|b|i|em|strong|u|p|br|data|story)\s*/?>", re.IGNORECASE)
_UNDERLINE: Final = re.compile(r"={2,}\s*([^=]+?)\s*={2,}")
_PAIRS: Final = (
    *(("**", "**"), ("__", "__"), "**", "__", "``", '""', "''"),
    *("“”", "‘’", "„“", "„”", "«»", "»«", "\u2039\u203a", "[]", "《》", "〈〉", "「」", "『』", "【】"),
)
"""Marks before and behind a title."""
_FALLBACKS: Final[dict[str, dict[str, str]]] = tomllib.loads(
    files(__package__).joinpath("fallbacks.toml").read_text("utf-8")
)


def fallback_title(language_code: str) -> str:
    """Returns the title of a story without one, in the story's language if it is known, else in English."""
    return _FALLBACKS["title"].get(language_code.partition("-")[0].lower(), _FALLBACKS["title"]["en"])


def fallback_ending(language_code: str) -> str:
    """Returns the last sentences of a story that broke off, "" where none are known in its language."""
    return _FALLBACKS["ending"].get(language_code.partition("-")[0].lower(), "")


def titled(line: str) -> bool:
    """Returns whether a line says that it is a title: "**Title:** Mia and the Sea"."""
    return _LABEL.match(line.lstrip("#*_ [(\u3010")) is not None


def is_title_key(path: tuple[str, ...]) -> bool:
    """Returns whether the last key of `path` names a title: "title", "story_title", "Titel", "name"."""
    return bool(path) and _KEY.fullmatch(path[-1]) is not None


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
    for opening, closing in _PAIRS:
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
