"""What stands behind a separator or a label: the summary, or the story after all."""

from __future__ import annotations

import re
from typing import Final

from story_service.answer.chatter import without_label
from story_service.answer.markup import LINE_HEAD, Line, LineKind, bounded, read_line, without_emphasis

MAX_SUMMARY_LENGTH: Final = 1_000
"""Most code points of a summary."""

MAX_TAIL: Final = 8_000
"""Most code points that are held back in any case."""
_UNDERWAY: Final = 1_500
"""Most code points that are held back behind `===` while the story is not as long as was asked."""
_SHORT: Final = 600
"""What follows a rule of dashes, or the first half of a story, and is longer is no summary."""
_FEW_LINES: Final = 3
_ENDS: Final = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]+[\"'\u201d\u00bb)*_]*(?=\s|\Z)|[\u3002\uff01\uff1f]")
_SENTENCES: Final = 2


class Tail:
    """Takes whole lines from a separator, a label or a closing word on, and holds them until it is known what they are.

    They are text once something shows that the story goes on: another separator or label with something behind it,
    another paragraph behind a label's own, more than a summary can have. Lines behind `===` with a label are a
    summary in any case.
    """

    def __init__(self, *, complete: bool, underway: bool, new_block: bool) -> None:
        """`complete`: the text has about the length that was asked for; `underway`: it has not the half of it.

        `new_block`: the first line is the first of its paragraph.
        """
        self._complete = complete
        self._underway = underway
        self._new_block = new_block
        self._held = _Held()
        self._next: _Held | None = None

    def take(self, line: str) -> list[str]:
        """Take a line; returns those that turned out to be text. All of them if `is_text` then."""
        read = read_line(bounded(line.strip()))
        if self.certain:
            self._held.add(line, read)
            return []
        if self.exceeds(line):
            return [*self.release(), line]
        if read.kind in {LineKind.SEPARATOR, LineKind.SUMMARY}:
            return self._begin(line, read)
        if read.kind is LineKind.TEXT and self._next is not None:
            return self._follow(line, read)
        (self._next or self._held).add(line, read)
        return self.release() if self._is_story() else []

    def exceeds(self, line: str) -> bool:
        """Whether `line`, or its first `LINE_HEAD` code points and more, makes it too much to be held."""
        kind = read_line(bounded(line.strip())).kind
        held, following = self._held, self._next
        if self.certain or (held.separated and not held.content and kind is LineKind.SUMMARY):
            return False
        if kind in {LineKind.SEPARATOR, LineKind.SUMMARY} and held.content:
            held, following = _Held(), None
        elif kind is LineKind.TEXT and following is not None:
            held, following = following, None
        length = held.length + (following.length if following is not None else 0)
        return length + len(line) > (MAX_TAIL if kind is LineKind.SUMMARY else self._limit(held))

    @property
    def certain(self) -> bool:
        """True where nothing that follows can be text."""
        return self._held.certain

    @property
    def is_text(self) -> bool:
        """True where all that was held is text."""
        return not self._held.lines

    def finish(self, *, only: bool) -> tuple[list[str], str]:
        """The answer has ended: what is text, and the summary. `only`: there is no other text."""
        held = self._held
        if (held.content and not held.certain and (only or self._is_no_summary())) or (only and held.closing):
            return self.release(), ""
        return [], held.summary()

    def release(self) -> list[str]:
        """All that is held, which is text."""
        text = [*self._held.lines, *(self._next.lines if self._next is not None else ())]
        self._held, self._next = _Held(), None
        return text

    def _limit(self, held: _Held) -> int:
        if held.ruled and not (held.labelled or held.separated):
            return _SHORT
        return MAX_TAIL if self._complete or held.labelled else _UNDERWAY

    def _begin(self, line: str, read: Line) -> list[str]:
        if not self._held.content:
            if self._held.closing and not self._held.parted:
                self._held = _Held()
            self._held.add(line, read)
            return []
        if self._next is None or self._next.content:
            self._next = _Held()
        if read.text.strip():
            return self._follow(line, read)
        self._next.add(line, read)
        return []

    def _follow(self, line: str, read: Line) -> list[str]:
        """Something stands behind another separator or label, so that what stands before it is text."""
        text = self._held.lines
        self._held, self._next = self._next or _Held(), None
        self._held.add(line, read)
        self._new_block = True
        return text

    def _is_story(self) -> bool:
        held = self._held
        if held.separated or not held.content:
            return False
        if not (held.labelled or held.ruled):
            # Only a closing word was there.
            return True
        return held.blocks > 1 or held.content > (_FEW_LINES if self._new_block else 1)

    def _is_no_summary(self) -> bool:
        held = self._held
        if held.labelled:
            return False
        if held.ruled and not held.separated:
            return len(_ENDS.findall("\n".join(held.lines))) > _SENTENCES + 1
        return self._underway and held.length > _SHORT


class _Held:
    """Lines, and what is known of them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.length = 0
        self.content = 0
        """Lines that something can be read in."""
        self.blocks = 0
        self.separated = False
        self.ruled = False
        self.labelled = False
        self.closing = False
        self._gap = True

    @property
    def parted(self) -> bool:
        return self.separated or self.ruled or self.labelled

    @property
    def certain(self) -> bool:
        return self.separated and self.labelled

    def add(self, line: str, read: Line) -> None:
        if self.length > MAX_TAIL:
            return
        self.lines.append(line)
        self.length += len(line) + 1
        match read.kind:
            case LineKind.BREAK:
                self._gap = True
            case LineKind.RULE:
                self._gap = True
                self.ruled = self.ruled or not self.content
            case LineKind.CLOSING:
                self.closing = True
            case LineKind.SEPARATOR:
                # Behind a label, it may underline that.
                self.separated = self.separated or not self.content
                self.labelled = self.labelled and bool(self.content)
            case LineKind.SUMMARY:
                self.labelled = self.labelled or not self.content
        if read.text.strip():
            self.content += 1
            self.blocks += self._gap
            self._gap = False

    def summary(self) -> str:
        """What was taken up to the end of the paragraph with the second sentence, on one line; "" for nothing."""
        words: list[str] = []
        sentences = 0
        for line in self.lines:
            read = read_line(bounded(line.strip()))
            parts = read.kind in {LineKind.BREAK, LineKind.RULE} and sentences >= _SENTENCES
            if words and (parts or read.kind in {LineKind.SEPARATOR, LineKind.CLOSING}):
                break
            text = without_label(line.strip(), head=LINE_HEAD) if read.kind is LineKind.SUMMARY else read.text
            sentences += len(_ENDS.findall(text))
            words += without_emphasis(text).split()
        summary = " ".join(words)
        if len(summary) <= MAX_SUMMARY_LENGTH:
            return summary
        return summary[: MAX_SUMMARY_LENGTH + 1].rpartition(" ")[0] or summary[:MAX_SUMMARY_LENGTH]
