"""Assignment -> the messages that a model is asked with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from story_service.assignment import Assignment
    from story_service.chat import Message


class PromptBuilder:
    """Fills in the templates of the language and the kind of a story."""

    def __init__(self, directory: Path | None = None) -> None:
        """`directory` holds templates that take the place of the packaged ones, file by file.

        Reads and tries every template. Raises ConfigurationError, naming the file, for one that can not be used.
        """
        raise NotImplementedError(directory)

    def messages(self, assignment: Assignment, *, continue_by_prefill: bool = False) -> tuple[Message, ...]:
        """What to ask: for a story from its beginning, or from where `assignment.written_so_far` stops.

        With `continue_by_prefill` the last message is an assistant's and holds the title and the text so far, without
        white space at its end.
        """
        raise NotImplementedError((assignment, continue_by_prefill))
