"""Assignment -> the messages that a model is asked with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from story_service.chat import Message
from story_service.prompting.templates_folder import Templates
from story_service.prompting.trials import trial_assignments
from story_service.prompting.variables import variables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from story_service.assignment import Assignment

_EMPTY_LINES: Final = re.compile(r"\n{3,}")


class PromptBuilder:
    """Fills in the templates of the language and the kind of a story."""

    def __init__(self, directory: Path | None = None) -> None:
        """`directory` holds templates that take the place of the packaged ones, file by file.

        Reads and tries every template. Raises ConfigurationError, naming the file, for one that can not be used.
        """
        self._templates = Templates(directory)
        with self._templates.tried():
            for language_code in self._templates.languages:
                for assignment in trial_assignments(language_code):
                    self.messages(assignment)

    def messages(self, assignment: Assignment, *, continue_by_prefill: bool = False) -> tuple[Message, ...]:
        """What to ask: for a story from its beginning, or from where `assignment.written_so_far` stops.

        With `continue_by_prefill` the last message is an assistant's and holds the title and the text so far, without
        white space at its end. A story whose title is not out is asked for from its beginning in any case.
        """
        started = bool(assignment.title_so_far)
        prefilled = started and continue_by_prefill
        folder = self._templates.folder_of(assignment.language_code)
        given = variables(assignment, folder=folder, continuing=started and not prefilled)
        messages = [
            Message("system", self._rendered(folder, "system", given)),
            Message("user", self._rendered(folder, assignment.kind, given)),
        ]
        if prefilled:
            so_far = f"{assignment.title_so_far}\n\n{assignment.written_so_far}"
            messages.append(Message("assistant", so_far.rstrip()))
        return tuple(messages)

    def _rendered(self, folder: str, name: str, given: Mapping[str, Any]) -> str:
        return _EMPTY_LINES.sub("\n\n", self._templates.render(folder, name, given)).strip()
