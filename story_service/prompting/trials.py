"""Assignments that every template must be able to say something to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from story_service.assignment import Assignment, Kind, Listener, Parent, Protagonist

if TYPE_CHECKING:
    from collections.abc import Iterator

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
