"""Finds the title among the first lines of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from story_service.chatter import is_announcement, like_title, may_be_announcement
from story_service.markup import LineKind, read_line
from story_service.titles import normalise_title

_MOST_SKIPPED: Final = 3


@dataclass(frozen=True, slots=True)
class Found:
    """The title as it was written, "" where the answer has none, and the lines that turned out to be text."""

    title: str
    text: tuple[str, ...] = ()


class TitleFinder:
    """Takes lines until it is known which is the title.

    What a model says before a title is left out where a title and a text follow it. What only may be said by it is
    the title, or the text, where they do not.
    """

    def __init__(self) -> None:
        self._certain = False
        self._skipped: list[str] = []
        self._blank = False
        self._title = ""

    def take(self, line: str) -> Found | None:
        """Take a whole line; None while the title is not known."""
        kind = read_line(line).kind
        if self._title and kind is LineKind.SEPARATOR:
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
        """What there is before a line that is too long for a title."""
        if self._title or not self._skipped:
            return Found(self._title)
        return self._without_title()

    def finish(self, line: str) -> Found | None:
        """What there is at the end, `line` being the one that was not ended; None where no line was ended."""
        if not self._skipped:
            return None
        if self._title and line:
            return Found(self._title, (line,))
        return self._without_title(*filter(None, (self._title, line)))

    def _without_title(self, *text: str) -> Found:
        """There is no title behind what was skipped: the last of that is the title, or the first line of the text."""
        last = self._skipped[-1]
        if self._certain:
            return Found("", text)
        if last.endswith((":", "\uff1a")):
            return Found("", (last, "", *text) if self._blank else (last, *text))
        return Found(last, text)
