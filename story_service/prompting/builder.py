"""Assignment -> the messages that a model is asked with."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from story_service.assignment import Assignment, Kind, Listener, Parent, Protagonist
from story_service.chat import Message
from story_service.prompting.templates_folder import Templates
from story_service.prompting.variables import variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


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


_KINDS: Final[tuple[Kind, ...]] = ("child", "hero", "combined")
_AGES: Final = (3, 6, 9, 12, 18)


def trial_assignments(language_code: str) -> Iterator[Assignment]:
    """With as little and with as much as an assignment can hold, of every kind, from the beginning and going on."""
    for kind in _KINDS:
        bare = Assignment(
            story_id="",
            child=Listener(name="A"),
            kind=kind,
            hero=None if kind == "child" else Protagonist(name="B"),
            language_code=language_code,
        )
        yield bare
        yield replace(bare, title_so_far="T")
        for age in _AGES:
            full = replace(
                bare,
                child=Listener(name="A", age=age, gender="female", interests=("a", "b")),
                hero=None
                if kind == "child"
                else Protagonist(
                    name="B",
                    gender="male",
                    appearance="a",
                    personality_traits=("a", "b"),
                    strengths=("a",),
                    interests=("a",),
                ),
                parent=Parent(title="T", summary="S"),
                wish="w",
                moral="kindness",
                theme="t",
            )
            yield full
            yield replace(full, moral="m", language_code=f"{language_code}-XX", title_so_far="T", written_so_far="W.")
