"""Servers: names of models, keys, lists and fields that they refuse."""

from typing import Final

from support.openrouter_fake import story
from support.story_models import WHOLE

from compatibility.harness import Case

CASES: Final[tuple[Case, ...]] = (
    Case(
        kind="Names of models",
        sends="the whole story for a model named `vendor/name`",
        answers=[story(WHOLE)],
        request={"model": "openai/gpt-4o"},
        calls=1,
    ),
)
