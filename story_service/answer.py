"""Reads a model's answer while it is streamed: the title line, whole sentences, and the summary at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from story_service.ports import LegText, LegTitle

AnswerItem: TypeAlias = LegTitle | LegText
"""What leaves the reader as soon as it is certain."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `items` are the last ones, `text` is all LegText joined; `summary` is "" where there is none."""

    items: tuple[AnswerItem, ...]
    text: str
    summary: str


class AnswerReader:
    """Takes an answer piece by piece and gives the title and the text, one sentence an item.

    However the answer is cut into pieces, the items are the same, and nothing is given that could change.
    """

    def __init__(self, title_wanted: bool, *, title: str = "", language_code: str = "en") -> None:
        """`title` is the title that is out already, where the answer goes on with a story."""
        raise NotImplementedError((title_wanted, title, language_code))

    @property
    def opens_paragraph(self) -> bool:
        """True where the answer's text began behind an empty line: a leg that goes on starts a new paragraph."""
        raise NotImplementedError

    def feed(self, text: str) -> list[AnswerItem]:
        """Take more of the answer; returns what it makes certain. The first text has no white space before it."""
        raise NotImplementedError(text)

    def finish(self) -> Answer:
        """The answer has ended properly. Of one that was cut, what was given before is all there is."""
        raise NotImplementedError
