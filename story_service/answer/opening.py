"""What stands before a story in an answer: thoughts and words to the person who asked; and the title."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from servicekit.sentences import sentence_ends
from story_service.answer.lines import LineKind, is_item, like_title, read_line, without_emphasis
from story_service.answer.titles import is_title_key, normalise_title, titled
from story_service.answer.wording import ABOUT_LENGTH, CLOSING, wording

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_THOUGHTS: Final = 60_000
"""Maximum code points of thoughts that are held; of longer ones the end is held."""

_MAX_PREAMBLE: Final = 1_200
_SHORT: Final = 300
_MUCH: Final = 2
_SURE: Final = 2
_LEAST_WORDS: Final = 4
_LEAST_TEXT: Final = 30
"""Words of a text without a title behind thoughts."""
_MAX_PLAN: Final = 80
_MOST_WORDS: Final = 5
_AGAINST: Final = 3
"""A word of a paragraph about the task counts as many against what begins before it."""

_HEADING: Final = re.compile(
    r"#{1,6}\s|\s*(?:\*\*|__)[^*_]+(?:\*\*|__)[\s.!]*\Z|={2,}\s*[^=]+={2,}\s*\Z|\s*<|[\u300a\u3010\u300e]"
)
_SAID: Final = re.compile(r"[\"\u201c\u201e\u00ab\u300c][^\"\u201d\u201c\u00bb\u300d\n]*[\"\u201d\u201c\u00bb\u300d]?")
_ASIDE: Final = re.compile(r"[*_]{1,2}[a-z][^*_.!?\n]{2,60}[*_]{1,2}\Z")
_ANNOUNCEMENT: Final = wording("announcement")
_CHAPTER: Final = wording("chapter")
_PERHAPS: Final = wording("perhaps")
_PLAN: Final = wording("plan")
_RESUMING: Final = wording("resuming")
_SCENE_LABEL: Final = wording("scene_label")
_SCENE_NUMBER: Final = wording("scene_number")
_STORY_LABEL: Final = wording("story_label")
_TASK: Final = wording("task")
_THOUGHT: Final = wording("thought")
_ROLE_LABEL: Final = wording("opening_role_label")
_SPOKEN: Final = wording("opening_spoken")
_YES: Final = wording("opening_yes")
_NAMED: Final = re.compile(r"[\"\u201c\u201e\u00ab]([^\"\u201d\u201c\u00bb\n]{2,100})[\"\u201d\u201c\u00bb]\W*\Z")
_BY: Final = wording("opening_by")
_THOUGHT_FOR: Final = wording("opening_thought_for")
_ANSWER: Final = wording("opening_answer")
_ECHO: Final = wording("opening_echo")
_WORK: Final = wording("work")
_GENERIC: Final = wording("opening_generic")
_SUBTITLE: Final = wording("opening_subtitle")
_ENDS_SENTENCE: Final = re.compile(r"[.!\u2026\u3002\uff01:\uff1a][\s*_\"'\u201d)]*\Z")
_FULL_STOPS: Final = (".", "\u2026", "\u3002", ":", "\uff1a")
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Found:
    """The title as written, "" where the answer has none, and the lines that turned out to be text."""

    title: str
    text: tuple[str, ...] = ()


class Opening:
    """Takes lines until it is known which is the title.

    What introduces a story is left out where a title and a text follow it; what only may introduce it is the title, or
    text, where they do not. Thoughts are held until the answer ends: only then it is known where they end.
    """

    def __init__(self) -> None:
        self._held: deque[str] = deque()
        self._length = 0
        self._thoughts = False
        self._blank = False
        self._title = ""
        self.fenced = False
        """True where the answer is in a block of code."""
        self.breaks = False
        """True after an empty line, or another that separates paragraphs."""

    def take(self, line: str) -> Found | None:
        """Takes a whole line; returns None while the title is not known."""
        line = line.strip()
        if self._thoughts:
            self._hold(line)
            return None
        kind = read_line(line).kind
        if self._title and kind is LineKind.LABEL and not ABOUT_LENGTH.fullmatch(line):
            return self._without_title(self._title, line)
        self.fenced = self.fenced != (kind is LineKind.FENCE)
        if kind in {LineKind.BREAK, LineKind.FENCE, LineKind.RULE} or not normalise_title(line):
            self._blank = self.breaks = True
            return None
        line = line if self._title else self._without_labels(line)
        if not line or self._skips(line):
            self._blank = True
            return None
        return self._decided(line)

    def long(self, head: str) -> Found | None:
        """Takes the beginning of a line that is too long for a title; returns None where the line may be none."""
        if self._thoughts:
            return None
        if self._title:
            return Found(self._title)
        if about_task(head) >= _MUCH or (_THOUGHT.match(head) and about_task(head)):
            return None
        return self._without_title() if self._held else Found("")

    def finish(self, line: str) -> Found | None:
        """Returns what there is at the end of the answer, `line` being unfinished; None for no text at all."""
        line = line.strip()
        if self._thoughts:
            self._hold(line)
            return self._behind_thoughts(_answer(self._held))
        if self._title:
            return Found(self._title, (line,)) if line else self._without_title(self._title)
        if self._held:
            return self._without_title(*filter(None, (line,)))
        return Found("", (line,)) if line and not like_title(line, stopped=True) and not _is_thought(line) else None

    def _hold(self, line: str) -> None:
        self._held.append(line)
        self._length += len(line)
        while self._length > MAX_THOUGHTS and len(self._held) > 1:
            self._length -= len(self._held.popleft())

    def _without_labels(self, line: str) -> str:
        return without_story_label(_without_speaker(line))

    def _skips(self, line: str) -> bool:
        planned = _PLAN.match(line) is not None and len(line) <= _MAX_PLAN and not titled(line)
        return is_frame(line) or (planned and not self._title)

    def _decided(self, line: str) -> Found | None:
        if self._title:
            if _GENERIC.match(self._title) and _is_heading(line):
                self._title = line
                return None
            return Found(self._title, (line,))
        if self._held:
            return self._behind_preamble(line)
        if _is_thought(line) or _ECHO.match(line):
            self._thoughts = True
        elif _GENERIC.match(line):
            self._title = line
            return None
        elif not may_be_preamble(line):
            return Found(line) if _is_heading(line) or _in_one_sentence(line) else Found("", (line,))
        self._blank = False
        self._hold(line)
        return None

    def _behind_preamble(self, line: str) -> Found | None:
        certain = any(map(is_announcement, self._held))
        about = certain or sum(map(about_task, self._held)) >= _MUCH or any(map(may_be_announcement, self._held))
        if about and not like_title(line, stopped=True) and _is_thought(line):
            self._thoughts = True
            self._hold(line)
            return None
        heading = titled(line) or (_is_heading(line) and not _CHAPTER.match(line))
        plain = (
            (self._blank or certain or _YES.match(self._held[-1]))
            and like_title(line, stopped=certain)
            and (about or _in_capitals(line))
        )
        named = certain and _NAMED.search(self._held[-1]) is not None
        if heading or (plain and not named):
            self._title = line
            return None
        if (
            about
            and not named
            and (about_task(line) >= _MUCH or is_announcement(line))
            and self._length < _MAX_PREAMBLE
        ):
            self._hold(line)
            self._blank = False
            return None
        return self._without_title(line)

    def _without_title(self, *text: str) -> Found:
        """Without a title after the introduction, that is the title, or the first line of the text."""
        held = [*self._held]
        if not held:
            return Found("", text)
        last = held[-1]
        if any(map(is_announcement, held)):
            named = _NAMED.search(last)
            return Found(named[1] if named is not None else "", text)
        if last.endswith((":", "\uff1a")):
            return Found("", (*held, "", *text) if self._blank else (*held, *text))
        if len(held) == 1 and _in_one_sentence(last):
            return Found(last, text)
        if all(_SPOKEN.match(line) and _WORK.search(line) for line in held):
            return Found("", text)
        return Found("", (*(part for line in held for part in (line, "")), *text))

    def _behind_thoughts(self, lines: list[str]) -> Found | None:
        """Returns the title and the text behind thoughts that nothing marks: where least is said about the task."""
        weights = [_weight(line) for line in lines]
        # A note behind the text weighs nothing.
        rest = [*accumulate(reversed(weights), lambda rest, weight: weight + max(rest, 0), initial=0)][::-1]
        places = [
            place
            for place, line in enumerate(lines)
            if any(map(str.isalnum, line))
            and weights[place] >= 0
            and rest[place + 1] >= _LEAST_WORDS
            and len(line) <= _SHORT
            and _in_one_sentence(line)
            and not is_item(line)
            and not is_frame(line)
            and (not place or not lines[place - 1] or _is_heading(line))
        ]
        if not places:
            return _least_thought(lines, _LEAST_TEXT)
        best = max(places, key=lambda place: rest[place + 1])
        title = normalise_title(lines[best]).casefold()
        best = max(place for place in places if place >= best and normalise_title(lines[place]).casefold() == title)
        return Found(lines[best], tuple(lines[best + 1 :]))


class Resumption(Opening):
    """What stands before the text of an answer that continues a story: all of it is left out, the title too."""

    def __init__(self, title: str) -> None:
        """`title` is the title of the story."""
        super().__init__()
        self._known = title.casefold()

    def long(self, head: str) -> Found | None:
        """Takes the beginning of a long line; returns None where the line may be thought."""
        if self._thoughts or (not self._title and _is_thought(head)):
            return None
        return self._without_title()

    def finish(self, line: str) -> Found | None:
        """Returns what there is at the end of the answer, `line` being unfinished."""
        found = self.take(line) if line.strip() and not self._thoughts else None
        return found or (super().finish(line) if self._thoughts else self._without_title())

    def _skips(self, line: str) -> bool:
        certain = _STORY_LABEL.fullmatch(line) is not None or _is_title_label(line)
        return (
            certain
            or read_line(line).kind is LineKind.REFERENCE
            or (bool(self._title or self._held) and is_frame(line))
        )

    def _decided(self, line: str) -> Found | None:
        if self._known and normalise_title(line).casefold() == self._known:
            self._title = line
        elif not self._title and (_is_thought(line) or _ECHO.match(line)):
            self._thoughts = True
            self._hold(line)
        elif self._may_introduce(line):
            self._blank = False
            self._hold(line)
        else:
            return self._without_title(line)
        return None

    def _may_introduce(self, line: str) -> bool:
        if self._title:
            return introduces_text(line)
        if self._held:
            return len(self._held) < _MUCH and CLOSING.match(line) is not None
        return may_be_announcement(line) or _RESUMING.match(line) is not None

    def _without_title(self, *text: str) -> Found:
        """Returns the text; what introduces it is a part of it where no empty line follows, or nothing says so."""
        introduces = self._blank and all(_introduces(line) or CLOSING.match(line) for line in self._held)
        if self._title or introduces:
            return Found("", text)
        return Found("", (*self._held, *([""] if self._held and self._blank else []), *text))

    def _behind_thoughts(self, lines: list[str]) -> Found | None:
        titles = [place for place, line in enumerate(lines) if normalise_title(line).casefold() == self._known]
        return Found("", tuple(lines[titles[-1] + 1 :])) if titles else _least_thought(lines, _LEAST_WORDS)


def _introduces(line: str) -> bool:
    return _RESUMING.match(line) is not None or (_SPOKEN.match(line) is not None and _WORK.search(line) is not None)


def is_announcement(line: str) -> bool:
    """Returns True for what certainly introduces a story: "Sure! Here is a story:"."""
    return _ANNOUNCEMENT.match(line) is not None


def may_be_announcement(line: str) -> bool:
    """Returns True for what may be a title ("Of course!") or an introduction ("Gerne! Hier ist sie:")."""
    return _PERHAPS.match(line) is not None


def may_be_preamble(line: str) -> bool:
    """Returns True for a first line that a title may follow: a short sentence, or words about the task."""
    if is_announcement(line) or may_be_announcement(line):
        return True
    if _is_heading(line):
        return False
    if _in_one_sentence(line):
        return _ENDS_SENTENCE.search(line) is not None
    return len(line) <= _SHORT or about_task(line) >= _MUCH


def is_frame(line: str) -> bool:
    """Returns True for what is neither title nor text before a story: its age or length, "[Soft music]", "Story:"."""
    frames = (ABOUT_LENGTH, _ASIDE, _STORY_LABEL, _SUBTITLE, _BY, _THOUGHT_FOR)
    return (
        (any(frame.fullmatch(line) for frame in frames) and not titled(line))
        or _is_title_label(line)
        or read_line(line).kind is LineKind.REFERENCE
    )


def _is_title_label(line: str) -> bool:
    label = line.strip(" *_#:")
    return label != line and is_title_key((label,))


def introduces_text(line: str) -> bool:
    """Returns True for what may introduce the text behind a title: "Here's the story:"."""
    return is_announcement(line) and len(line.split()) <= _MOST_WORDS


def without_story_label(line: str) -> str:
    """Returns a first line of text without the label of the story in front of it."""
    label = _STORY_LABEL.match(line)
    return line[label.end() :] if label is not None else line


def without_scene_heading(line: str, *, first: bool, whole: bool) -> str:
    """Returns a line of a scene without the heading in front of it: "" for a `whole` line that is nothing else.

    The `first` one of the scene can be a number or a title alone.
    """
    label = _SCENE_LABEL.match(line) or (_SCENE_NUMBER.match(line) if first else None)
    rest = line[label.end() :] if label is not None else line
    title = whole and (first or label is not None) and like_title(rest, stopped=False)
    end = without_emphasis(rest).rstrip()[-1:]
    return "" if title and not unicodedata.category(end or "L").startswith("P") else rest


def _without_speaker(line: str) -> str:
    """Returns `line` without "Assistant:" in front of it."""
    role = _ROLE_LABEL.match(line)
    return line[role.end() :] if role is not None else line


def about_task(line: str) -> int:
    """Returns how much a line speaks of the task rather than tells a story."""
    return sum(_SURE if found.lastgroup else 1 for found in _TASK.finditer(line[:_MAX_PREAMBLE]))


def _is_thought(line: str) -> bool:
    thought = _THOUGHT.match(line)
    if is_announcement(line) or (thought is None and (_is_heading(line) or _SPOKEN.match(line))):
        return False
    if thought is not None and thought["named"]:
        return True
    if _in_capitals(line):
        return False
    kinds = _kinds(line)
    return ("sure" in kinds or (thought is not None and "soft" in kinds)) and (
        thought is not None or about_task(line) > _SURE
    )


def _kinds(line: str) -> set[str | None]:
    return {found.lastgroup for found in _TASK.finditer(_SAID.sub("", line[:_MAX_PREAMBLE]))}


def _is_heading(line: str) -> bool:
    return len(line) <= _SHORT and (_HEADING.match(line) is not None or titled(line))


def _in_one_sentence(line: str) -> bool:
    """Returns True for a line that can be a title, however long it is."""
    if like_title(line, stopped=True):
        return True
    return not line.rstrip(" *_\"'\u201d)").endswith(_FULL_STOPS) and not any(
        end < len(line) for end in sentence_ends(line)
    )


def _in_capitals(line: str) -> bool:
    """Returns True where the words of a line are written as those of an English title."""
    words = [word for word in _WORD.findall(line) if len(word) > _LEAST_WORDS - 1]
    return len(words) > 1 and all(word[0].isupper() for word in words) and not _ENDS_SENTENCE.search(line)


def _answer(lines: Iterable[str]) -> list[str]:
    """Returns the lines behind the last that says that the answer follows, or all lines."""
    answer: list[str] = []
    for line in lines:
        label = _ANSWER.match(line)
        answer = answer if label is None else []
        answer.append(line if label is None else line[label.end() :])
    return answer


def _least_thought(lines: list[str], least: int) -> Found | None:
    """Returns the end of `lines` that says least about the task, where it is a text of `least` words."""
    weights = [*accumulate(map(_weight, reversed(lines)), initial=0)][::-1]
    best = max(reversed(range(len(weights))), key=lambda place: weights[place])
    return Found("", tuple(lines[best:])) if weights[best] >= least else None


def _weight(line: str) -> int:
    words = len(_WORD.findall(line))
    thought = _THOUGHT.match(line)
    kinds = _kinds(line)
    if line.startswith(">") or _PLAN.match(line) or (thought is not None and thought["named"]) or "sure" in kinds:
        return -_AGAINST * words
    return 0 if is_item(line) or "soft" in kinds else words
