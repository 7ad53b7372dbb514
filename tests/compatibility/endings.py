"""Ends: a story that is whole, breaks off, is refused, repeats itself or has another language."""

from typing import Final

from support.openrouter_fake import Cut, pieces, story, stream
from support.story_models import TITLE, joined, rest

from compatibility.harness import Case

CASES: Final[tuple[Case, ...]] = (
    Case(
        kind="Stories that break off",
        sends="a connection that breaks in mid-story, then the rest",
        answers=[stream(*pieces(f"{TITLE}\n\n{joined(9)}"), Cut()), story(rest(joined(8)))],
        calls=2,
    ),
)
