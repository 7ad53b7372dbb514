"""The wire: events, bodies and ends of streams."""

from typing import Final

from support.openrouter_fake import DONE, Finish, pieces, stream
from support.story_models import WHOLE

from compatibility.harness import Case

CASES: Final[tuple[Case, ...]] = (
    Case(
        kind="Ends of an answer",
        sends='the whole story, then `finish_reason` "stop" and `[DONE]`',
        answers=[stream(*pieces(WHOLE), Finish("stop"), DONE)],
        calls=1,
    ),
)
