"""What a model adds behind a story: a summary, notes, sources, words to the person who asked, a second turn."""

from __future__ import annotations

from typing import Final

from servicekit.sentences import sentence_ends
from story_service.answer.lines import LineKind, is_item, read_line, speaker_of

MAX_ADDITION: Final = 8_000
"""Maximum code points that are held behind a label."""
_MAX_RULED: Final = 600
"""What follows a rule and is longer, or has more sentences, is the story."""
_MAX_SENTENCES: Final = 3
_MAX_LINES: Final = 3


class Addition:
    """Lines that a model seems to have added behind its story: a summary, a moral, words to the person who asked.

    They are held while each of them can be an addition. A paragraph after that of a label, or after a closing word,
    shows that the story continues.
    """

    def __init__(self, *, play: bool = False) -> None:
        """`play`: lines of the text begin with the names of speakers."""
        self._play = play
        self.lines: list[str] = []
        self._length = 0
        self._ruled = True
        """True while there was only a rule."""
        self._paragraph = 0
        """Lines of the present label's paragraph."""
        self._new_block = False
        self._headed = False
        """True where it begins with a heading."""
        self._blocks = 0
        self._turns = 0
        """Lines that begin with the name of a speaker of a conversation."""

    def admits(self, line: str) -> bool:
        """Returns whether `line`, or its first `LINE_HEAD` code points and more, can belong to it."""
        read = read_line(line)
        labelled = read.kind is LineKind.LABEL or not self._ruled
        if self._length + len(line) > (MAX_ADDITION if labelled else _MAX_RULED):
            return False
        if self._turns:
            # In a play, another than the two that talk to each other speaks next.
            return read.kind is LineKind.TURN or not speaker_of(line)
        if read.kind is LineKind.TEXT:
            return self._ruled or self._may_go_on or is_item(line)
        # Behind a second rule there is another scene, and before a label there may have been one.
        return not (self._ruled and self._paragraph) or not (read.kind is LineKind.RULE or self.is_story)

    @property
    def _may_go_on(self) -> bool:
        return self._paragraph < _MAX_LINES and not (self._paragraph and self._new_block)

    def add(self, line: str) -> None:
        """Takes a whole line that is admitted."""
        read = read_line(line)
        self.lines.append(line)
        self._length += len(line) + 1
        match read.kind:
            case LineKind.LABEL:
                self._headed = self._headed or (len(self.lines) == 1 and not read.text.strip())
                self._ruled, self._paragraph, self._new_block = False, int(bool(read.text.strip())), False
            case LineKind.CLOSING | LineKind.REFERENCE:
                self._ruled, self._paragraph = False, _MAX_LINES
            case LineKind.TURN:
                self._ruled = False
                self._turns += 1
            case LineKind.TEXT:
                self._blocks += self._new_block
                self._paragraph, self._new_block = self._paragraph + 1, False
            case _:
                self._new_block = True

    @property
    def is_story(self) -> bool:
        """Returns whether it is the story after all, now that the answer has ended."""
        if self._turns:
            # Of a conversation more than one turn comes, or a short one; a play continues with what is done.
            return self._turns == 1 and (self._play or self._blocks > 1)
        return self._ruled and len(sentence_ends("\n".join(self.lines))) > _MAX_SENTENCES

    @property
    def is_chapter(self) -> bool:
        """Returns whether it can be a chapter, where it begins before the text is about as long as requested."""
        return self._headed and self._length > _MAX_RULED
