"""What stands before a story in an answer: thoughts and words to the person who asked; and the title."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from story_service.answer.lines import LineKind, is_item, like_title, read_line
from story_service.answer.titles import is_title_key, normalise_title, titled
from story_service.answer.wording import (
    ABOUT_LENGTH,
    ANNOUNCEMENT,
    CHAPTER,
    HERE,
    PERHAPS,
    PLAN,
    ROLE,
    STORY_LABEL,
    TASK,
    THOUGHT,
    WORK,
    YES,
)

MAX_THOUGHTS: Final = 60_000
"""Maximum code points of thoughts that are held; of longer ones the end is held."""

_MAX_PREAMBLE: Final = 1_200
_SHORT: Final = 300
_MUCH: Final = 2
_SURE: Final = 2
_LEAST_WORDS: Final = 4
_MOST_WORDS: Final = 5
_AGAINST: Final = 3
"""A word of a paragraph about the task counts as many against what begins before it."""

_HEADING: Final = re.compile(
    r"#{1,6}\s|\s*(?:\*\*|__)[^*_]+(?:\*\*|__)[\s.!]*\Z|={2,}\s*[^=]+={2,}\s*\Z|\s*<|[\u300a\u3010\u300e]"
)
_SAID: Final = re.compile(r"[\"\u201c\u201e\u00ab\u300c][^\"\u201d\u201c\u00bb\u300d\n]*[\"\u201d\u201c\u00bb\u300d]?")
_ASIDE: Final = re.compile(r"[*_]*\[[^\].!?]{1,60}\][*_]*\Z")
_ROLE_LABEL: Final = re.compile(rf"[#*_ ]*{ROLE}[*_ ]*(?:[:\uff1a][*_ ]*|\s*\Z)", re.IGNORECASE)
_SPOKEN: Final = re.compile(rf"[\s#*_>`=~-]*(?:{YES}|{HERE})\b", re.IGNORECASE)
_WORK: Final = re.compile(WORK, re.IGNORECASE)
_GENERIC: Final = re.compile(
    r"[\s#*_]*(?:(?:a|an|the|your|my|short|little|cozy|gentle|bedtime|sweet|magical) )*(?:stor(?:y|ie)s?|tales?"
    r"|bedtime story)"
    r"(?: (?:for|about) (?:[\w'\u2019]+(?:,? (?:age|aged) \d+)?))?[\s#*_.!]*\Z",
    re.IGNORECASE,
)
_SUBTITLE: Final = re.compile(
    rf"(?:[*_]{{1,3}}|[(\[])\W*(?:an?|the|your)\b[^.!?]{{0,40}}{WORK}[^.!?]{{0,60}}[*_)\]]{{1,3}}", re.IGNORECASE
)
_ENDS_SENTENCE: Final = re.compile(r"[.!\u2026\u3002\uff01:\uff1a][\s*_\"'\u201d)]*\Z")
_STOPPED: Final = re.compile(
    r"[.!?\u2026](?=\s+\S)|[.\u2026\u3002:\uff1a][\s*_\"'\u201d)]*\Z|[\u3002\uff01\uff1f](?=.)"
)
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

    def take(self, line: str) -> Found | None:
        """Takes a whole line; returns None while the title is not known."""
        line = line.strip()
        if self._thoughts:
            self._hold(line)
            return None
        kind = read_line(line).kind
        if self._title and kind is LineKind.LABEL:
            return self._without_title(self._title, line)
        self.fenced = self.fenced != (kind is LineKind.FENCE)
        if kind in {LineKind.BREAK, LineKind.FENCE, LineKind.RULE} or not normalise_title(line):
            self._blank = True
            return None
        line = without_frame(line)
        if not line or is_frame(line):
            self._blank = True
            return None
        return self._decided(line)

    def long(self, head: str) -> Found | None:
        """Takes the beginning of a line that is too long for a title; returns None where the line may be none."""
        if self._thoughts:
            return None
        if self._title:
            return Found(self._title)
        if about_task(head) >= _MUCH or (THOUGHT.match(head) and about_task(head)):
            return None
        return self._without_title() if self._held else Found("")

    def finish(self, line: str) -> Found | None:
        """Returns what there is at the end of the answer, `line` being unfinished; None for no text at all."""
        line = line.strip()
        if self._thoughts:
            self._hold(line)
            return _behind_thoughts([*self._held])
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

    def _decided(self, line: str) -> Found | None:
        if self._title:
            if _GENERIC.match(self._title) and _is_heading(line):
                self._title = line
                return None
            return Found(self._title, (line,))
        if self._held:
            return self._behind_preamble(line)
        if _is_thought(line):
            self._thoughts = True
        elif _GENERIC.match(line):
            self._title = line
            return None
        elif not may_be_preamble(line):
            return Found(line) if _in_one_sentence(line) else Found("", (line,))
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
        heading = titled(line) or (_is_heading(line) and not CHAPTER.match(line))
        plain = (self._blank or certain) and like_title(line, stopped=certain) and (about or _in_capitals(line))
        if heading or plain:
            self._title = line
            return None
        if about and (about_task(line) >= _MUCH or is_announcement(line)) and self._length < _MAX_PREAMBLE:
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
            return Found("", text)
        if last.endswith((":", "\uff1a")):
            return Found("", (*held, "", *text) if self._blank else (*held, *text))
        if len(held) == 1 and _in_one_sentence(last):
            return Found(last, text)
        if all(_SPOKEN.match(line) and _WORK.search(line) for line in held):
            return Found("", text)
        return Found("", (*(part for line in held for part in (line, "")), *text))


def is_announcement(line: str) -> bool:
    """Returns True for what certainly introduces a story: "Sure! Here is a story:"."""
    return ANNOUNCEMENT.match(line) is not None


def may_be_announcement(line: str) -> bool:
    """Returns True for what may be a title ("Of course!") or an introduction ("Gerne! Hier ist sie:")."""
    return PERHAPS.match(line) is not None


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
    frames = (ABOUT_LENGTH, _ASIDE, STORY_LABEL, _SUBTITLE)
    return (
        any(frame.fullmatch(line) for frame in frames)
        or is_title_key((line.strip(" *_#:"),))
        or read_line(line).kind is LineKind.REFERENCE
    )


def introduces_text(line: str) -> bool:
    """Returns True for what may introduce the text behind a title: "Here's the story:"."""
    return is_announcement(line) and len(line.split()) <= _MOST_WORDS


def without_story_label(line: str) -> str:
    """Returns a first line of text without the label of the story in front of it."""
    label = STORY_LABEL.match(line)
    return line[label.end() :] if label is not None else line


def without_frame(line: str) -> str:
    """Returns `line` without the label of a story or of a speaker in front of it: "Assistant:", "Story:"."""
    role = _ROLE_LABEL.match(line)
    return line[role.end() :] if role is not None else line


def about_task(line: str) -> int:
    """Returns how much a line speaks of the task rather than tells a story."""
    return sum(_SURE if found.lastgroup else 1 for found in TASK.finditer(line[:_MAX_PREAMBLE]))


def _is_thought(line: str) -> bool:
    thought = THOUGHT.match(line)
    if is_announcement(line) or (thought is None and (_is_heading(line) or _SPOKEN.match(line))):
        return False
    if thought is not None and thought["named"]:
        return True
    kinds = _kinds(line)
    return ("sure" in kinds or (thought is not None and "soft" in kinds)) and (
        thought is not None or about_task(line) > _SURE
    )


def _kinds(line: str) -> set[str | None]:
    return {found.lastgroup for found in TASK.finditer(_SAID.sub("", line[:_MAX_PREAMBLE]))}


def _is_heading(line: str) -> bool:
    return len(line) <= _SHORT and (_HEADING.match(line) is not None or titled(line))


def _in_one_sentence(line: str) -> bool:
    """Returns True for a line that can be a title, however long it is."""
    return like_title(line, stopped=True) or not _STOPPED.search(line)


def _in_capitals(line: str) -> bool:
    """Returns True where the words of a line are written as those of an English title."""
    words = [word for word in _WORD.findall(line) if len(word) > _LEAST_WORDS - 1]
    return len(words) > 1 and all(word[0].isupper() for word in words) and not _ENDS_SENTENCE.search(line)


def _behind_thoughts(lines: list[str]) -> Found | None:
    """Returns the title and the text behind thoughts that nothing marks: where least is said about the task."""
    weights = [_weight(line) for line in lines]
    rest = [*accumulate(reversed(weights), initial=0)][::-1]
    places = [
        place
        for place, line in enumerate(lines)
        if line
        and weights[place] >= 0
        and rest[place + 1] >= _LEAST_WORDS
        and like_title(line, stopped=True)
        and not is_item(line)
        and (not place or not lines[place - 1] or _is_heading(line))
    ]
    if places:
        best = max(places, key=lambda place: rest[place + 1])
        title = normalise_title(lines[best]).casefold()
        again = [place for place in places if place > best and normalise_title(lines[place]).casefold() == title]
        best = again[-1] if again else best
        return Found(lines[best], tuple(lines[best + 1 :]))
    best = max(range(len(lines)), key=lambda place: rest[place], default=0)
    return Found("", tuple(lines[best:])) if rest[best] >= _SHORT // 10 else None


def _weight(line: str) -> int:
    words = len(_WORD.findall(line))
    thought = THOUGHT.match(line)
    kinds = _kinds(line)
    if line.startswith(">") or PLAN.match(line) or (thought is not None and thought["named"]) or "sure" in kinds:
        return -_AGAINST * words
    return 0 if is_item(line) or "soft" in kinds else words
