"""Builds the messages for a model from an assignment."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from offline_writer import Kind, Outline, Parent, Protagonist, Scene
from story_service.assignment import ASPECTS, Assignment, Listener
from story_service.chat import Message
from story_service.passage import words_of
from story_service.prompting.templates_folder import Templates
from story_service.prompting.variables import variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


ProfileT = TypeVar("ProfileT", Listener, Protagonist)

_EMPTY_LINES: Final = re.compile(r"\n{3,}")


class PromptBuilder:
    """Fills in the templates for the language and the kind of a story."""

    def __init__(self, directory: Path | None = None) -> None:
        """`directory` holds templates that replace the packaged ones, file by file.

        Tries every template if there are any such: the packaged ones do not change. Raises ConfigurationError, naming
        the file, for one that cannot be used.
        """
        self._templates = Templates(directory)
        with self._templates.tried():
            for language_code in self._templates.languages if directory else ():
                for assignment in trial_assignments(language_code):
                    self.messages(assignment)

    def messages(self, assignment: Assignment, *, continue_by_prefill: bool = False) -> tuple[Message, ...]:
        """Returns the messages: for a story from its beginning, or from the end of `assignment.written_so_far`.

        With `continue_by_prefill` the last message is an assistant's and holds the title and the text so far, without
        white space at its end. A story without a released title starts from its beginning in any case.
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
    """Yields the smallest and the largest assignments of every kind, new and continued."""
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
        yield replace(bare, title_so_far="T", written_so_far="W. " * words_of(bare.length_minutes))
        for age in _AGES:
            full = replace(
                bare,
                child=_complete(Listener, name="A", age=age, gender="female"),
                hero=None if kind == "child" else _complete(Protagonist, name="B", gender="male"),
                parent=Parent(title="T", text="S"),
                wish="w",
                moral="kindness",
                theme="t",
                avoid=("x", "y"),
                audience_note="n",
                gentle=True,
                weak=ASPECTS,
                heard=(Outline(title="T", setting="P", companion="C"),),
                outline=Outline(
                    title="T", setting="P", companion="C", mood="M", gift="G", scenes=(Scene(purpose="S"),)
                ),
            )
            yield full
            yield replace(full, length_minutes=10, outline=None)
            begun, first = "W. " * words_of(4), Outline(scenes=(Scene(words=words_of(4)),))
            yield replace(full, length_minutes=10, title_so_far="T", written_so_far=begun, outline=first)
            for told in ("", "W. " * 400, "W. " * 800):
                scenes = (Scene(purpose="S", words=750), Scene(words=750))
                yield replace(
                    full,
                    length_minutes=10,
                    title_so_far="T" if told else "",
                    written_so_far=told,
                    outline=Outline(scenes=scenes),
                )
            yield replace(full, moral="m", language_code=f"{language_code}-XX", title_so_far="T", written_so_far="W.")


def _complete(profile: type[ProfileT], **given: Any) -> ProfileT:
    """Returns a profile in which every text and every list has a value."""
    samples = {field.name: "a" if field.default == "" else ("a", "b") for field in fields(profile)}
    return profile(**samples | given)
