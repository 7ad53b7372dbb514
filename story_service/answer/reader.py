"""Reads a model's answer while it is streamed: the title, whole sentences, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeAlias

from story_service.answer.addition import Addition
from story_service.answer.lines import (
    LINE_HEAD,
    Line,
    LineKind,
    bounded,
    is_certain_turn,
    is_item,
    is_numbered_source,
    is_rule_so_far,
    read_line,
    speaker_of,
    spoken,
    without_emphasis,
)
from story_service.answer.opening import (
    MAX_THOUGHTS,
    Found,
    Opening,
    Resumption,
    introduces_text,
    is_frame,
    without_scene_heading,
    without_story_label,
)
from story_service.answer.outline import repeats_outline
from story_service.answer.sentences import SentenceCutter, count_words
from story_service.answer.stream_text import StreamText
from story_service.answer.titles import MAX_TITLE_LENGTH, normalise_title
from story_service.answer.tokens import RESTART
from story_service.answer.wording import CLOSING, THE_END, wording
from story_service.passage import NEARLY_WHOLE
from story_service.ports import AttemptText, AttemptTitle

if TYPE_CHECKING:
    from offline_writer import Outline

AnswerItem: TypeAlias = AttemptTitle | AttemptText
"""What the reader returns as soon as it is certain."""

_MAX_TITLE_LINE: Final = MAX_TITLE_LENGTH + 40
"""A longer first line is text, or thought: the model left the title out."""
_MAX_FIRST_LINE: Final = 120
_FRAME: Final = 24
"""Code points of the label, the number and the marks around what a line repeats."""
_MAX_PARTING: Final = 2_000
_MAX_SPEAKERS: Final = 100
_QUESTION: Final = wording("question")
_FAREWELL: Final = wording("farewell")


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """A whole answer: its last `items`, and all its `text`."""

    items: tuple[AnswerItem, ...]
    text: str


class _Part(Enum):
    TITLE = auto()
    OPENING = auto()
    """After the title, or at the start of a continuation: no text has come."""
    TEXT = auto()
    ADDITION = auto()
    """Behind a rule, a label, or a closing word, while nothing shows that the story continues."""


class AnswerReader:
    """Takes an answer piece by piece and returns the title and the text, one sentence an item.

    However the answer is cut into pieces, the items are the same, and nothing is returned that could change. Headings,
    emphasis, fences, chatter before the title, and a title that is repeated are left out; paragraphs are separated by
    an empty line, and the lines within one by a line feed. What the model seems to have added behind the story is
    held, at most `MAX_ADDITION` code points of it, and dropped unless the story continues after it.
    """

    def __init__(
        self,
        title_wanted: bool,
        *,
        title: str = "",
        language_code: str = "en",
        words_asked: int | None = None,
        outline: Outline | None = None,
        last: bool = True,
    ) -> None:
        """`title` is the title that is released already, where the answer continues a story.

        `words_asked` is the requested length of the text, None where it is not known: only behind a text of about
        that length can a rule separate what is not the story. `outline`: the text is one of its scenes, whose headings
        are left out, as what repeats the outline before it; before the `last` a farewell is, too.
        """
        self._stream = StreamText(title_wanted=title_wanted)
        self._title_wanted = title_wanted
        self._language_code = language_code
        self._words_asked = words_asked
        self._outline = outline
        plan = () if outline is None else outline.scenes
        self._first_line = max((len(title), *(len(scene.purpose) for scene in plan))) + _FRAME
        """Code points of what a first line may repeat."""
        self._last = last
        self._cutter = SentenceCutter(language_code)
        self._part = _Part.TITLE
        self._opening = Opening() if title_wanted else Resumption(title)
        self._asked = False
        self._title = title.casefold()
        self._head = ""
        self._plain = False
        self._perhaps = ""
        self._over = False
        self._between = ""
        self._lead = ""
        self._breaks = 0
        self._ruled = False
        self._speakers: set[str] = set()
        """What lines of the text begin with, before a colon."""
        self._opens_paragraph = False
        self._given: list[AnswerItem] = []
        self._text: list[str] = []
        self._words = 0
        self._parting: list[str] = []
        """Sentences at the present end of the text that seem to speak to the person who asked."""
        self._parted = False
        """True where one of them certainly does."""
        self._addition: Addition | None = None

    @property
    def opens_paragraph(self) -> bool:
        """True where the answer's text began on a new line: a continuation then starts with a new paragraph."""
        return self._opens_paragraph

    def feed(self, text: str) -> list[AnswerItem]:
        """Takes more of the answer; returns what is certain now. The first text has no white space before it."""
        self._read(self._stream.feed(text))
        given, self._given = self._given, []
        return given

    def finish(self) -> ReadAnswer:
        """Returns the rest of an answer that ended properly. Of a cut one, what was returned before is all."""
        self._read(self._stream.finish())
        if self._part is _Part.TITLE:
            head, self._head = self._head, ""
            self._found(self._opening.finish(head))
        elif not self._plain and self._head:
            self._line_ended()
        self._resume()
        added = self._addition
        early = self._words_asked is not None and self._words < NEARLY_WHOLE * self._words_asked
        only = self._title_wanted and not self._text
        if added is not None and (added.is_story or (early and added.is_chapter) or only):
            self._release()
        self._close_paragraph()
        if not self._parted and self._last:
            self._let_out()
        given, self._given = self._given, []
        return ReadAnswer(tuple(given), "".join(self._text))

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
        if self._over:
            return
        if self._plain:
            self._write(line)
        elif self._part is _Part.ADDITION:
            self._hold(line)
        else:
            self._head = bounded((self._head + line).lstrip())
            if is_rule_so_far(self._head):
                return
            if self._part is _Part.TITLE:
                self._long_line()
            elif len(self._head) >= self._decisive():
                self._begin_line()

    def _long_line(self) -> None:
        most = _MAX_TITLE_LINE if self._title_wanted else max(_MAX_FIRST_LINE, self._first_line)
        if len(self._head) <= most:
            return
        if not self._asked:
            self._asked = True
            found = self._opening.long(self._head[: most + 1])
            if found is not None:
                head, self._head = self._head, ""
                self._found(found)
                self._take(head)
                return
        self._head = self._head[-MAX_THOUGHTS:]

    def _decisive(self) -> int:
        """Code points of a line that decide what it is; a first one may repeat the title, or the outline."""
        return LINE_HEAD if self._part is not _Part.OPENING else max(LINE_HEAD, self._first_line)

    def _line_ended(self) -> None:
        if self._plain:
            self._between = "\n"
        elif self._part is _Part.ADDITION:
            self._addition_line()
        elif self._part is _Part.TITLE:
            head, self._head, self._asked = self._head, "", False
            self._found(self._opening.take(head))
        elif self._part is _Part.OPENING and self._to_be_skipped():
            self._head = ""
        elif not self._over:
            self._begin_line(whole=True)
        self._plain = False

    def _begin_line(self, *, whole: bool = False) -> None:
        """Reads a line: text, a break, or the first of an addition."""
        if self._title_wanted and not self._text:
            self._head = without_story_label(self._head)
        if self._outline is not None:
            if whole and not self._text and repeats_outline(self._head, self._outline):
                self._head = ""
            self._head = without_scene_heading(self._head, first=not self._text, whole=whole)
        line = read_line(self._head)
        if line.kind in {LineKind.BREAK, LineKind.RULE, LineKind.FENCE}:
            self._perhaps = ""
        self._resume()
        if self._text and line.kind is LineKind.TURN and whole and is_certain_turn(self._head):
            self._close_paragraph()
            self._over = True
            self._head = ""
            return
        if self._begins_addition(line):
            self._close_paragraph()
            self._part, self._addition = _Part.ADDITION, Addition(play=bool(self._speakers))
            head, self._head = self._head, ""
            self._hold(head)
            if whole:
                self._addition_line()
            return
        self._head = ""
        self._ruled = self._ruled or line.kind is LineKind.RULE
        if line.kind is LineKind.TEXT or line.text:
            self._write_line(line.text, whole=whole)
        else:
            self._break()

    def _begins_addition(self, line: Line) -> bool:
        if line.kind in {LineKind.LABEL, LineKind.CLOSING}:
            return True
        begins = line.kind is LineKind.REFERENCE
        match line.kind:
            case LineKind.TURN:
                # Riddles have answers.
                begins = self._speakers.isdisjoint({"Question", speaker_of(self._head)})
            case LineKind.FENCE:
                begins = self._opening.fenced
            case LineKind.TEXT:
                cited = self._stream.cited and is_numbered_source(self._head)
                begins = cited or (bool(self._parting) and is_item(self._head))
            case LineKind.RULE:
                # A second rule shows that they are scene breaks.
                asked = self._words_asked
                begins = not self._ruled and asked is not None and self._words >= NEARLY_WHOLE * asked
        return begins and self._part is _Part.TEXT

    def _found(self, found: Found | None) -> None:
        """Returns the title, if it is known now, and reads what follows it."""
        if found is None:
            return
        if self._title_wanted:
            self._title = normalise_title(found.title).casefold()
            self._given.append(AttemptTitle(found.title))
        self._part = _Part.OPENING
        self._breaks += self._opening.breaks
        for line in found.text:
            self._take(line)
            self._line_ended()

    def _to_be_skipped(self) -> bool:
        """Returns whether a line before the text is none of it, as far as it is known."""
        if not self._head:
            # An empty line follows what may be chatter: it was.
            return False
        self._resume()
        if self._part is not _Part.OPENING:
            return False
        if self._title and normalise_title(self._head).casefold() == self._title:
            return True
        if self._title_wanted and is_frame(self._head):
            return True
        if self._title_wanted and introduces_text(self._head):
            self._perhaps = self._head
            return True
        return False

    def _resume(self) -> None:
        """Writes what seemed to be chatter, since the next line follows it at once."""
        line, self._perhaps = self._perhaps, ""
        if line:
            self._write_line(spoken(line), whole=True)

    def _write_line(self, text: str, *, whole: bool) -> None:
        if (speaker := speaker_of(text)) and len(self._speakers) < _MAX_SPEAKERS:
            self._speakers.add(speaker)
        if self._part is not _Part.TEXT:
            self._opens_paragraph = self._opens_paragraph or (not self._text and self._breaks > 0)
            self._part = _Part.TEXT
        self._write(text)
        if whole:
            self._between = "\n"
        else:
            self._plain = True

    def _break(self) -> None:
        self._breaks += 1
        self._close_paragraph()

    def _hold(self, piece: str) -> None:
        """Holds a piece of a line of the addition, unless it shows that the story continues."""
        self._head = bounded((self._head + piece).lstrip())
        decided = len(self._head) >= LINE_HEAD and not is_rule_so_far(self._head)
        if decided and self._addition is not None and not self._addition.admits(self._head):
            self._go_on(whole=False)

    def _addition_line(self) -> None:
        if self._addition is None:
            return
        if self._addition.admits(self._head):
            self._addition.add(self._head)
            self._head = ""
        else:
            self._go_on(whole=True)

    def _go_on(self, *, whole: bool) -> None:
        """Reads the line that the addition does not admit, after what is held, which is text."""
        alone = self._addition is not None and not self._addition.lines
        self._release()
        if not alone:
            self._begin_line(whole=whole)
            return
        line, self._head = self._head, ""
        self._write_line(_text_of(line), whole=whole)

    def _release(self) -> None:
        """Writes what is held: it is text."""
        addition, self._addition = self._addition, None
        self._part = _Part.TEXT if self._text else _Part.OPENING
        for line in addition.lines if addition is not None else ():
            self._ruled = self._ruled or read_line(line).kind is LineKind.RULE
            self._write_held(line)

    def _write_held(self, line: str) -> None:
        """Writes a line of the addition as text."""
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
        if sentence.startswith("\n") and not self._parted:
            # A farewell in a paragraph of its own is the story's.
            self._let_out()
        closing = _closing(sentence)
        if self._text and (closing or _farewell(sentence)) and sum(map(len, self._parting)) < _MAX_PARTING:
            self._parting.append(sentence)
            self._parted = self._parted or closing
            return
        self._let_out(sentence)

    def _let_out(self, *sentences: str) -> None:
        """Releases sentences, after those that seemed to be no text: they are."""
        for text in (*self._parting, *sentences):
            self._text.append(text)
            self._words += count_words(text)
            self._given.append(AttemptText(text))
        self._parting, self._parted = [], False

    def _forget_thoughts(self) -> None:
        """Drops what has not been returned: it was thought. A returned title stays."""
        if self._text:
            return
        if self._part is _Part.TITLE:
            self._opening = Opening() if self._title_wanted else Resumption(self._title)
        else:
            self._part = _Part.OPENING
        self._head = ""
        self._plain = False
        self._perhaps = ""
        self._between = ""
        self._addition = None
        self._cutter = SentenceCutter(self._language_code)


def _text_of(line: str) -> str:
    """Returns what is read of a line that is text whatever it looks like; "" for nothing."""
    read = read_line(line)
    return read.text if read.kind is not LineKind.LABEL else spoken(line)


def _closing(sentence: str) -> bool:
    """Returns whether a sentence speaks to the person who asked, as far as it shows."""
    words = sentence.lstrip()
    alone = sentence.startswith("\n")
    return CLOSING.match(words) is not None or (alone and any(each.match(words) for each in (_QUESTION, THE_END)))


def _farewell(sentence: str) -> bool:
    return _FAREWELL.match(sentence.lstrip()) is not None
