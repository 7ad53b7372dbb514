"""Recognises an answer that refuses to write a story, in the languages that stories are written in."""

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

from story_service.answer.wording import wording


class Refusal(Enum):
    """How certain it is that a text refuses to write a story."""

    NONE = "none"
    POSSIBLE = "possible"
    """It is one where no story follows."""
    CERTAIN = "certain"


_READ: Final = 1_000
_SENTENCES: Final = 6
"""A refusal is among the first of a text."""
_FIRST: Final = 3

_QUOTED: Final = re.compile(
    r"[\"“”„«»「『][^\"“”„«»「」『』]{0,600}(?:[\"“”»«」』]|\Z)|(?<!\w)['‘‚][^'‘’\n]{2,300}['’‘](?!\w)|^[*\s]*[-—–]\s.*$",
    re.MULTILINE,
)
"""Direct speech: what a character says."""
_SAID: Final = wording("refusal_said")
"""That a character says it; not all writers set speech in quotation marks."""
_BOUNDARY: Final = re.compile(r"(?<=[.!?。！？।؟…])[\s*_]*|\n+")
# An apology, what is refused, and what the refusal is about.
_SORRY, _CANNOT, _ACT, _TASK, _RULES, _REDIRECTION = (
    wording(f"refusal_{name}") for name in ("sorry", "cannot", "act", "task", "rules", "redirection")
)


def refusal_in(text: str) -> Refusal:
    """Returns whether `text`, a title and the first sentences after it, refuses in words to write a story.

    What a character says is left out. A certain refusal says what it cannot do and about what, and apologises, names
    its rules or offers something else; what has less of that can be a story in the first person.
    """
    sentences = list(_narrated(text[:_READ]))[:_SENTENCES]
    if any(map(_SAID.search, sentences[:_FIRST])):
        return Refusal.NONE
    first = " ".join(sentences[:_FIRST])
    if _CANNOT.search(first):
        about = bool(_ACT.search(first) and _TASK.search(first))
        if about and any(pattern.search(first) for pattern in (_SORRY, _RULES, _REDIRECTION)):
            return Refusal.CERTAIN
    possible = any(map(_may_refuse, sentences)) or any(map(_REDIRECTION.search, sentences[:_FIRST]))
    return Refusal.POSSIBLE if possible else Refusal.NONE


def _may_refuse(sentence: str) -> bool:
    if _RULES.search(sentence):
        return True
    return _CANNOT.search(sentence) is not None and any(map(re.Pattern.search, (_SORRY, _ACT), (sentence, sentence)))


def _narrated(text: str) -> Iterator[str]:
    """Yields the sentences and lines of `text`, without direct speech; of a text that is all speech, all of it."""
    narrated = _QUOTED.sub(" ", text)
    if not any(map(str.isalnum, narrated)):
        narrated = text
    for sentence in _BOUNDARY.split(narrated):
        if any(map(str.isalnum, sentence)):
            yield sentence
