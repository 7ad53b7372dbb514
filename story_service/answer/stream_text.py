"""The characters of a streamed answer, cleaned before lines and sentences are read."""

from __future__ import annotations

from typing import Final

from story_service.answer.markup import Escapes, Markup, with_line_feeds, without_controls
from story_service.answer.structured import Structured
from story_service.answer.tokens import RESTART, Tokens

_GATHERED: Final = 20
"""Code points of a line that are read at once: single tokens would cost four times the CPU. An end of a sentence is
decided later than that anyway."""


class _Characters:
    """Returns text without control characters, whose lines end with one line feed."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        text = self._held + without_controls(text)
        # What the next character may belong to: a line feed behind "\r", the second half of a surrogate pair.
        self._held = text[-1:] if text[-1:] == "\r" or "\ud800" <= text[-1:] <= "\udbff" else ""
        return with_line_feeds(text[: len(text) - len(self._held)])

    def finish(self) -> str:
        return with_line_feeds(self._held)


class StreamText:
    """Takes raw pieces and returns plain text, whose lines end with one line feed.

    Thoughts, template tokens and second turns go first, then JSON is read, then escapes, tags and citations. However
    the answer is cut into pieces, the text is the same.
    """

    def __init__(self, *, title_wanted: bool = True, structured: bool = True) -> None:
        """`structured` False leaves JSON as it is."""
        self._markup = Markup()
        self._gathered = ""
        read = (Structured(title_wanted=title_wanted), Escapes(), self._markup) if structured else ()
        self._stages = (_Characters(), Tokens(), *read)

    @property
    def cited(self) -> bool:
        """True where the text had citations."""
        return self._markup.cited

    def feed(self, text: str) -> str:
        """Takes more; returns what is certain of it."""
        text = self._gathered + text
        if len(text) < _GATHERED and "\n" not in text:
            self._gathered = text
            return ""
        self._gathered = ""
        for stage in self._stages:
            text = stage.feed(text)
        return text

    def finish(self) -> str:
        """Returns what was held at the end of the answer."""
        text, self._gathered = self._gathered, ""
        for stage in self._stages:
            text = stage.feed(text) + stage.finish()
        return text


def read_text(answer: str, *, structured: bool = True) -> str:
    """Returns the clean text of a whole answer, without its thoughts; `structured` False leaves JSON as it is."""
    stream = StreamText(structured=structured)
    return (stream.feed(answer) + stream.finish()).rpartition(RESTART)[2]
