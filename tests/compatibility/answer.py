"""Answers: the title and the story between what is neither."""

from typing import Final

from support.openrouter_fake import story
from support.story_models import TEXT, TITLE

from compatibility.harness import Case

CASES: Final[tuple[Case, ...]] = (
    Case(
        kind="Around the story",
        sends="the title as a heading, `# …`",
        answers=[story(f"# {TITLE}\n\n{TEXT}")],
        calls=1,
    ),
)
