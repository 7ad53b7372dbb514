"""Reads a model's answer while it is streamed: the title line, whole sentences, and the summary at its end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from story_service.markup import (
    LINE_HEAD,
    LineKind,
    bounded,
    is_chatter,
    is_open,
    is_rule_so_far,
    read_line,
    without_emphasis,
)
from story_service.ports import LegText, LegTitle
from story_service.sentences import SentenceCutter
from story_service.stream_text import RESTART, StreamText
from story_service.tail import Tail
from story_service.titles import MAX_TITLE_LENGTH, normalise_title

AnswerItem: TypeAlias = LegTitle | LegText
"""What leaves the reader as soon as it is certain."""

_MAX_TITLE_LINE: Final = MAX_TITLE_LENGTH + 40
"""A first line that is longer is text: the model left the title out."""
_MAX_FIRST_LINE: Final = 120
_MAX_CHATTER: Final = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `items` are the last ones, `text` is all LegText joined; `summary` is "" where there is none."""

    items: tuple[AnswerItem, ...]
    text: str
    summary: str


class _Part(Enum):
    TITLE = auto()
    OPENING = auto()
    """Behind the title, or at the start of a leg that goes on: nothing of the text has come."""
    TEXT = auto()
    TAIL = auto()
    """Behind `===` or a label."""


class AnswerReader:
    """Takes an answer piece by piece and gives the title and the text, one sentence an item.

    However the answer is cut into pieces, the items are the same, and nothing is given that could change. What the
    text is dressed with (headings, emphasis, fences, chatter before the title, a title that is said again) is left
    out; paragraphs are parted by an empty line, and the lines within one by a line feed.
    """

    def __init__(self, title_wanted: bool, *, title: str = "", language_code: str = "en") -> None:
        """`title` is the title that is out already, where the answer goes on with a story."""
        self._stream = StreamText()
        self._title_wanted = title_wanted
        self._language_code = language_code
        self._cutter = SentenceCutter(language_code)
        self._part = _Part.TITLE if title_wanted else _Part.OPENING
        self._title = title.casefold()
        self._head = ""
        self._plain = False
        self._chatter = 0
        self._skipped = False
        self._between = ""
        self._lead = ""
        self._breaks = 0
        self._opens_paragraph = False
        self._given: list[AnswerItem] = []
        self._text: list[str] = []
        self._tail = Tail()

    @property
    def opens_paragraph(self) -> bool:
        """True where the answer's text began on a new line: a leg that goes on starts with a new paragraph."""
        return self._opens_paragraph

    def feed(self, text: str) -> list[AnswerItem]:
        """Take more of the answer; returns what it makes certain. The first text has no white space before it."""
        self._read(self._stream.feed(text))
        given, self._given = self._given, []
        return given

    def finish(self) -> Answer:
        """The answer has ended properly. Of one that was cut, what was given before is all there is."""
        self._read(self._stream.finish())
        if self._part in {_Part.OPENING, _Part.TEXT} and not self._plain and self._head:
            self._line_ended()
        self._close_paragraph()
        given, self._given = self._given, []
        return Answer(tuple(given), "".join(self._text), self._tail.summary)

    def _read(self, text: str) -> None:
        first, *others = text.split(RESTART)
        self._lines(first)
        for other in others:
            self._forget_thoughts()
            self._lines(other)

    @property
    def _behind_text(self) -> bool:
        return self._part is _Part.TAIL

    def _lines(self, text: str) -> None:
        start = 0
        while start < len(text):
            if self._behind_text:
                text, start = self._collect(text[start:]), 0
                continue
            end = text.find("\n", start)
            if end != start:
                self._take(text[start:] if end < 0 else text[start:end])
            if end < 0:
                return
            start = end
            # The line itself may have turned out to begin the summary, and then the line feed belongs to it.
            if not self._behind_text:
                self._line_ended()
                start += 1

    def _take(self, line: str) -> None:
        if self._plain:
            self._write(line)
            return
        self._head = bounded((self._head + line).lstrip())
        if is_rule_so_far(self._head):
            return
        if self._part is _Part.TITLE and len(self._head) > _MAX_TITLE_LINE:
            self._give_title("")
        if self._part is not _Part.TITLE and (
            len(self._head) >= self._decisive() or (self._part is _Part.TEXT and not is_open(self._head))
        ):
            self._begin_line(whole=False)

    def _decisive(self) -> int:
        """Code points of a line that tell what it is; a first one may be the title again, or chatter."""
        if self._part is not _Part.OPENING:
            return LINE_HEAD
        return max(LINE_HEAD if self._title_wanted else _MAX_FIRST_LINE, len(self._title) + 24)

    def _line_ended(self) -> None:
        if self._plain:
            self._between = "\n"
        elif self._part is _Part.TITLE:
            self._read_title()
        elif self._part is _Part.OPENING and self._to_be_skipped():
            self._skipped = True
        else:
            self._begin_line(whole=True)
            self._between = "\n" if self._plain else ""
        self._head = ""
        self._plain = False

    def _begin_line(self, *, whole: bool) -> None:
        line = read_line(self._head, whole=whole)
        if line.kind is LineKind.TEXT and not without_emphasis(line.text).strip():
            line = read_line("", whole=True)
        match line.kind:
            case LineKind.TEXT:
                if self._part is _Part.OPENING:
                    self._part = _Part.TEXT
                    self._opens_paragraph = self._breaks > 0
                self._plain = True
                self._write(line.text)
            case LineKind.BREAK:
                self._breaks += 1
                self._close_paragraph()
            case LineKind.SEPARATOR if self._part is _Part.TEXT or self._adds_nothing:
                self._close_paragraph()
                self._part = _Part.TAIL
                self._tail = Tail()
            case LineKind.SEPARATOR:
                # It underlines the title.
                self._breaks += 1
            case LineKind.SUMMARY:
                self._close_paragraph()
                self._part = _Part.TAIL
                self._tail = Tail(labelled=True)
                self._tail.feed(line.text + ("\n" if whole else ""))
        self._head = ""

    @property
    def _adds_nothing(self) -> bool:
        """A leg that goes on may find the text whole, and then begins with what stands behind it."""
        return self._part is _Part.OPENING and not self._title_wanted and not self._skipped

    def _read_title(self) -> None:
        line = self._head
        if (
            not line
            or not normalise_title(line)
            or read_line(line, whole=True).kind is not LineKind.TEXT
            or self._is_chatter(line)
        ):
            return
        self._give_title(line.strip())

    def _give_title(self, title: str) -> None:
        self._title = normalise_title(title).casefold()
        self._given.append(LegTitle(title))
        self._part = _Part.OPENING

    def _to_be_skipped(self) -> bool:
        """Whether the first line behind the title, or of a leg that goes on, is no text."""
        if not self._head:
            return False
        again = bool(self._title) and normalise_title(self._head).casefold() == self._title
        return again or self._is_chatter(self._head)

    def _is_chatter(self, line: str) -> bool:
        if self._chatter >= _MAX_CHATTER or not is_chatter(line):
            return False
        self._chatter += 1
        return True

    def _write(self, raw: str) -> None:
        text = without_emphasis(raw)
        words = text.split()
        if not words:
            self._between = self._between or (" " if text else "")
            return
        between = self._between or (" " if text[0].isspace() else "")
        self._between = " " if text[-1].isspace() else ""
        for sentence in self._cutter.feed(between + " ".join(words)):
            self._give(sentence)

    def _close_paragraph(self) -> None:
        for sentence in self._cutter.close():
            self._give(sentence)
        self._between = ""
        if self._text:
            self._lead = "\n\n"

    def _give(self, sentence: str) -> None:
        if self._lead or not self._text:
            sentence = self._lead + sentence.lstrip()
        self._lead = ""
        self._text.append(sentence)
        self._given.append(LegText(sentence))

    def _collect(self, text: str) -> str:
        """Keep what stands behind the text; returns what turned out to be text."""
        text = self._tail.feed(text)
        if text:
            self._part = _Part.TEXT
        return text

    def _forget_thoughts(self) -> None:
        """Drop what has not been given: it was thought. The title stays once it is out."""
        if self._text:
            return
        if self._part is not _Part.TITLE:
            self._part = _Part.OPENING
        self._head = ""
        self._plain = False
        self._between = ""
        self._tail = Tail()
        self._cutter = SentenceCutter(self._language_code)
