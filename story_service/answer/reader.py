"""Reads a model's answer while it is streamed: the title line, whole sentences, and the summary at its end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from story_service.answer.chatter import is_resumption
from story_service.answer.markup import (
    LINE_HEAD,
    Line,
    LineKind,
    bounded,
    is_rule_so_far,
    read_line,
    spoken,
    without_emphasis,
)
from story_service.answer.sentences import SentenceCutter, count_words
from story_service.answer.stream_text import RESTART, StreamText
from story_service.answer.tail import MAX_TAIL, Tail
from story_service.answer.titles import MAX_TITLE_LENGTH, Found, TitleFinder, normalise_title
from story_service.ports import AttemptText, AttemptTitle

AnswerItem: TypeAlias = AttemptTitle | AttemptText
"""What leaves the reader as soon as it is certain."""

_MAX_TITLE_LINE: Final = MAX_TITLE_LENGTH + 40
"""A first line that is longer is text: the model left the title out."""
_MAX_FIRST_LINE: Final = 120
_COMPLETE: Final = 0.8
"""Share of the words that were asked for from which on a text can be the whole story."""
_HALF: Final = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: its last `items`, all its `text`, and its `summary`, "" where there is none."""

    items: tuple[AnswerItem, ...]
    text: str
    summary: str


class _Part(Enum):
    TITLE = auto()
    OPENING = auto()
    """Behind the title, or at the start of an attempt that goes on: nothing of the text has come."""
    TEXT = auto()
    TAIL = auto()
    """Behind `===`, a label, or a closing word, as long as nothing shows that the story goes on."""


class AnswerReader:
    """Takes an answer piece by piece and gives the title and the text, one sentence an item.

    However the answer is cut into pieces, the items are the same, and nothing is given that could change. What the
    text is dressed with (headings, emphasis, fences, chatter before the title, a title that is said again) is left
    out; paragraphs are parted by an empty line, and the lines within one by a line feed. What could be the summary is
    held back, at most `MAX_TAIL` code points of it, and is text where it can not be told from the story.
    """

    def __init__(
        self, title_wanted: bool, *, title: str = "", language_code: str = "en", words_asked: int | None = None
    ) -> None:
        """`title` is the title that is out already, where the answer goes on with a story.

        `words_asked` is how long the text is to be, None where nobody said: it tells a summary from a story that is
        not at its end.
        """
        self._stream = StreamText()
        self._title_wanted = title_wanted
        self._language_code = language_code
        self._words_asked = words_asked
        self._cutter = SentenceCutter(language_code)
        self._part = _Part.TITLE if title_wanted else _Part.OPENING
        self._finder = TitleFinder()
        self._title = title.casefold()
        self._head = ""
        self._plain = False
        self._perhaps = ""
        self._skipped = False
        self._between = ""
        self._lead = ""
        self._breaks = 0
        self._new_block = True
        self._ruled = False
        self._opens_paragraph = False
        self._given: list[AnswerItem] = []
        self._text: list[str] = []
        self._words = 0
        self._tail: Tail | None = None

    @property
    def opens_paragraph(self) -> bool:
        """True where the answer's text began on a new line: an attempt that goes on starts with a new paragraph."""
        return self._opens_paragraph

    def feed(self, text: str) -> list[AnswerItem]:
        """Take more of the answer; returns what it makes certain. The first text has no white space before it."""
        self._read(self._stream.feed(text))
        given, self._given = self._given, []
        return given

    def finish(self) -> Answer:
        """The answer has ended properly. Of one that was cut, what was given before is all there is."""
        self._read(self._stream.finish())
        if self._part is _Part.TITLE:
            head, self._head = self._head, ""
            self._found(self._finder.finish(head))
        elif self._part is not _Part.TAIL and not self._plain and self._head:
            self._line_ended()
        self._resume()
        summary = self._finish_tail() if self._part is _Part.TAIL else ""
        self._close_paragraph()
        given, self._given = self._given, []
        return Answer(tuple(given), "".join(self._text), summary)

    def _read(self, text: str) -> None:
        first, *others = text.split(RESTART)
        self._lines(first)
        for other in others:
            self._forget_thoughts()
            self._lines(other)

    def _lines(self, text: str) -> None:
        start = 0
        while start < len(text):
            end = text.find("\n", start)
            if end != start:
                self._take(text[start:] if end < 0 else text[start:end])
            if end < 0:
                return
            self._line_ended()
            start = end + 1

    def _take(self, line: str) -> None:
        if self._plain:
            self._write(line)
        elif self._part is _Part.TAIL:
            self._hold(line)
        else:
            self._head = bounded((self._head + line).lstrip())
            if is_rule_so_far(self._head):
                return
            if self._part is _Part.TITLE and len(self._head) > _MAX_TITLE_LINE:
                head, self._head = self._head, ""
                self._found(self._finder.missing())
                self._take(head)
            elif self._part is not _Part.TITLE and len(self._head) >= self._decisive():
                self._begin_line()

    def _decisive(self) -> int:
        """Code points of a line that tell what it is; a first one may be the title again, or chatter."""
        if self._part is not _Part.OPENING:
            return LINE_HEAD
        return max(LINE_HEAD if self._title_wanted else _MAX_FIRST_LINE, len(self._title) + 24)

    def _line_ended(self) -> None:
        if self._plain:
            self._between = "\n"
        elif self._part is _Part.TAIL:
            self._tail_line()
        elif self._part is _Part.TITLE:
            head, self._head = self._head, ""
            self._found(self._finder.take(head))
        elif self._part is _Part.OPENING and self._to_be_skipped():
            self._head = ""
        else:
            self._begin_line(whole=True)
        self._plain = False

    def _begin_line(self, *, whole: bool = False) -> None:
        """The line is text, a break, or the first of a tail."""
        line = read_line(self._head)
        if line.kind in {LineKind.BREAK, LineKind.RULE}:
            self._perhaps = ""
        self._resume()
        if self._begins_tail(line):
            self._close_paragraph()
            self._part = _Part.TAIL
            self._tail = Tail(complete=self._has_share(_COMPLETE), underway=self._lacks_half, new_block=self._new_block)
            head, self._head = self._head, ""
            self._hold(head)
            if whole:
                self._tail_line()
            return
        self._head = ""
        self._ruled = self._ruled or line.kind is LineKind.RULE
        if line.kind is LineKind.TEXT or line.text:
            self._write_line(line.text, whole=whole)
        else:
            self._break()

    def _begins_tail(self, line: Line) -> bool:
        match line.kind:
            case LineKind.SEPARATOR:
                # Behind the title alone, it underlines the title.
                return self._part is _Part.TEXT or (self._adds_nothing and not line.text)
            case LineKind.RULE:
                return self._part is _Part.TEXT and not self._ruled and self._has_share(_COMPLETE)
            case LineKind.SUMMARY | LineKind.CLOSING:
                return True
        return False

    @property
    def _adds_nothing(self) -> bool:
        """An attempt that goes on may find the text whole, and then begins with what stands behind it."""
        return self._part is _Part.OPENING and not self._title_wanted and not self._skipped

    def _has_share(self, share: float) -> bool:
        return self._words_asked is not None and self._words >= share * self._words_asked

    @property
    def _lacks_half(self) -> bool:
        return self._words_asked is not None and not self._has_share(_HALF)

    def _found(self, found: Found | None) -> None:
        """Give the title, if it is known now, and read what stands behind it."""
        if found is None:
            return
        self._title = normalise_title(found.title).casefold()
        self._given.append(AttemptTitle(found.title))
        self._part = _Part.OPENING
        for line in found.text:
            self._take(line)
            self._line_ended()

    def _to_be_skipped(self) -> bool:
        """Whether the first line behind the title, or of an attempt that goes on, is no text, as far as it is known."""
        if not self._head:
            # What may have been said to the one who asked was, where an empty line follows.
            return False
        self._resume()
        if self._part is not _Part.OPENING:
            return False
        if self._title and normalise_title(self._head).casefold() == self._title:
            self._skipped = True
            return True
        if not self._title_wanted and not self._skipped and is_resumption(self._head):
            self._perhaps = self._head
            self._skipped = True
            return True
        return False

    def _resume(self) -> None:
        """What was taken for chatter is text, because the next line follows it at once."""
        line, self._perhaps = self._perhaps, ""
        if line:
            self._write_line(spoken(line), whole=True)

    def _write_line(self, text: str, *, whole: bool) -> None:
        if self._part is not _Part.TEXT:
            self._opens_paragraph = self._opens_paragraph or (not self._text and self._breaks > 0)
            self._part = _Part.TEXT
        self._new_block = False
        self._write(text)
        if whole:
            self._between = "\n"
        else:
            self._plain = True

    def _break(self) -> None:
        self._breaks += 1
        self._new_block = True
        self._close_paragraph()

    def _hold(self, piece: str) -> None:
        """Keep a piece of a line of the tail, unless it makes the tail too long to be one."""
        tail = self._tail
        if tail is None or (tail.certain and len(self._head) > MAX_TAIL):
            return
        self._head = bounded((self._head + piece).lstrip())
        if len(self._head) < LINE_HEAD or is_rule_so_far(self._head) or not tail.exceeds(self._head):
            return
        line, self._head = self._head, ""
        for text in tail.release():
            self._tell(text)
        self._part, self._tail = _Part.TEXT, None
        self._write_line(_text_of(line), whole=False)

    def _tail_line(self) -> None:
        line, self._head = self._head, ""
        if self._tail is None:
            return
        for text in self._tail.take(line):
            self._tell(text)
        self._part = _Part.TAIL
        if self._tail.is_text:
            self._part, self._tail = _Part.TEXT, None

    def _finish_tail(self) -> str:
        if self._head:
            self._tail_line()
        if self._tail is None:
            return ""
        text, summary = self._tail.finish(only=self._title_wanted and not self._text)
        for line in text:
            self._tell(line)
        return summary

    def _tell(self, line: str) -> None:
        """Give a line of the tail as the text that it is."""
        text = _text_of(line)
        if text:
            self._write_line(text, whole=True)
        else:
            self._break()

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
        self._words += count_words(sentence)
        self._given.append(AttemptText(sentence))

    def _forget_thoughts(self) -> None:
        """Drop what has not been given: it was thought. The title stays once it is out."""
        if self._text:
            return
        if self._part is not _Part.TITLE:
            self._part = _Part.OPENING
        self._finder = TitleFinder()
        self._head = ""
        self._plain = False
        self._perhaps = ""
        self._between = ""
        self._tail = None
        self._cutter = SentenceCutter(self._language_code)


def _text_of(line: str) -> str:
    """What is read of a line that is text whatever it looks like; "" where there is nothing to read."""
    read = read_line(line)
    return read.text if read.kind not in {LineKind.SUMMARY, LineKind.CLOSING} else spoken(line)
