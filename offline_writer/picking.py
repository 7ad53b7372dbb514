"""Choice among the sections of a stock: what the outline has, else what the child has not heard, else the oldest."""

import random
from collections.abc import Callable, Iterable
from math import inf

from offline_writer.bands import band_of
from offline_writer.brief import OfflineBrief, Outline, random_for
from offline_writer.stock import Section, suits

_SHORT = "@short"
_BRIEF_MINUTES = 2
"""Up to so many minutes a section heard lately is but mentioned."""


def _names(outline: Outline | None) -> tuple[str, ...]:
    if outline is None:
        return ()
    return tuple(filter(None, (outline.plot_shape, outline.companion, outline.setting, outline.gift)))


class Picker:
    """Orders sections for one story; the order depends on nothing but the brief."""

    def __init__(self, brief: OfflineBrief, *, avoided: Callable[[str], bool]) -> None:
        """`avoided` returns whether a text has what must not appear."""
        self._salt = random_for(brief, "picks").random()
        self.avoided = avoided
        self._readers = band_of(brief.age).readers
        self._minutes = brief.length_minutes
        self.shortest = brief.length_minutes <= _BRIEF_MINUTES
        outline = brief.outline
        self.pinned = tuple(scene.key for scene in outline.scenes if scene.key) if outline is not None else ()
        self._places = {key.partition("@")[0]: at for at, key in enumerate(self.pinned)}
        self._places |= dict.fromkeys(_names(outline), 0)
        self._nights: dict[str, int] = {}
        # Of a plan that exists, what was heard meanwhile changes nothing.
        for night, story in enumerate(brief.heard if outline is None else ()):
            for key in (*(scene.key.partition("@")[0] for scene in story.scenes), *_names(story)):
                self._nights.setdefault(key, night)

    def heard(self, key: str) -> bool:
        """Returns whether the child heard it lately: the id of a section, a shape, a companion, a place, a gift."""
        return key in self._nights

    def ordered(
        self, sections: Iterable[Section], called: Callable[[Section], str] = lambda section: section.id
    ) -> list[Section]:
        """Returns those for listeners of this age without anything to be avoided, the best first.

        Those with a field `least` or `most` are for stories of at least or at most so many minutes. Bodies of their own
        come before those for everybody; for the youngest, even those that were heard, except in the shortest stories.
        `called` gives the names of sections in an outline.
        """
        given = [
            one for one in sections
            if int(one.fields.get("least", 1)) <= self._minutes <= int(one.fields.get("most", self._minutes))
        ]  # fmt: skip
        every = [section for section in given if suits(section.fields.get("readers", ""), self._readers)] or given
        allowed = [section for section in every if not self._has_avoided(section)]

        def rank(section: Section) -> tuple[float, bool, float, bool, float]:
            name = called(section)
            general = section.fields.get("readers", "") not in {"<", ">"}
            by_chance = random.Random(f"{self._salt} {section.id}").random()
            foreign = general and self._readers == "youngest" and not self.shortest
            return self._places.get(name, inf), foreign, -self._nights.get(name, inf), general, by_chance

        return sorted(allowed or every, key=rank)

    def one(
        self, sections: Iterable[Section], called: Callable[[Section], str] = lambda section: section.id
    ) -> Section:
        """Returns the best of them."""
        return self.ordered(sections, called)[0]

    def key(self, section: Section) -> str:
        """Returns what the outline calls the section; what was heard lately is told in short."""
        return section.id + (_SHORT if self.in_short(section) else "")

    def in_short(self, section: Section) -> bool:
        """Returns whether the section is told in its short form."""
        return self.heard(section.id) or section.id + _SHORT in self.pinned

    def mentioned(self, section: Section) -> bool:
        """Returns whether the section, heard lately, is but mentioned: its body "again" is told."""
        return self.shortest and self.in_short(section) and bool(section.body("again"))

    def _has_avoided(self, section: Section) -> bool:
        return any(self.avoided(line.text) for name in section.bodies for line in section.lines(name) if not line.level)
