"""The journey as English tells it: a hero's strengths are seen at work, and what is remembered is spoken of."""

import random
from collections.abc import Iterator

from offline_writer.arc import Block, Unit
from offline_writer.casting import Stock
from offline_writer.english.cast import EnglishCast
from offline_writer.journey import Journey, Occasion, insert
from offline_writer.realising import Realiser
from offline_writer.stock import Section

_FEAT_OF_ITS_OWN = 4
"""Up to so many minutes a hero's strength is seen at work even where there is no room for a journey."""


class EnglishJourney(Journey[EnglishCast]):
    """Lays out one journey."""

    _SCENES_TO_A_REALM = 6
    _ANY_INTEREST = ("asked", "memory", "play")

    def __init__(self, stock: Stock, cast: EnglishCast, realiser: Realiser, rng: random.Random) -> None:
        super().__init__(stock, cast, realiser, rng)
        self._strengths = list(cast.portrait.strengths) if cast.portrait is not None else []
        if cast.remembers:
            # What the last story began with, this one does not.
            self._strengths = self._strengths[1:] + self._strengths[:1]
        self._feat: tuple[Section | None, str] = (None, "")
        if self._strengths and cast.minutes <= _FEAT_OF_ITS_OWN:
            strength = self._strengths.pop(0)
            self._feat = (self._power(strength), strength)

    def before_its_scenes(self) -> Iterator[Block]:
        """The scene of the first strength, for a story too short to leave it to the length; nothing without one."""
        scene, strength = self._feat
        if scene is None:
            return
        sections = {section.key: section for section in self._stock["heroes"]}
        spots = list(self._cast.realm.listed("spots", "|"))
        seen = self._realiser.paragraphs(scene.body(), Occasion(spots[-1:], strength))
        at_least = self._realiser.paragraphs(sections["feat"].body())
        yield Block(key="feat", paragraphs=seen, short=at_least, shorten=6, spare=True)

    def _more_links(self) -> list[Unit]:
        """What is said on the way of the hero's ways, and in a sequel of the other time."""
        links: list[Unit] = []
        if self._cast.portrait is not None:
            sections = {section.key: section for section in self._stock["heroes"]}
            links += [self._realiser.unit(line) for line in sections["links"].lines()]
            if self._cast.portrait.adjectives:
                ways = list(sections["trait_links"].lines())
                self._rng.shuffle(ways)
                traits = self._cast.portrait.traits
                links += [
                    self._realiser.unit(line, {"trait": trait}) for line, trait in zip(ways, traits, strict=False)
                ]
        if self._cast.remembers:
            remembering = next(section for section in self._stock["memories"] if section.key == "link")
            links.append(self._realiser.unit(self._rng.choice(remembering.lines())))
        return [unit for unit in links if unit.text]

    def _meet(self, spread: list[tuple[Section, str]]) -> None:
        loved = self._loved(self._cast.interests)
        known = [(self._power(strength), strength) for strength in self._strengths]
        insert(spread, loved, (0, 2, 5) if not known else (1, 4, 7))
        insert(spread, known, (0, 3, 6))

    def _power(self, strength: str) -> Section | None:
        """A scene in which the hero does just that, or one that suits whatever it is."""
        words = f" {strength.casefold()} "
        own = [
            section for section in self._stock["powers"]
            if any(f" {name} " in words for name in section.listed("names")) and section.key not in self._used
        ]  # fmt: skip
        any_strength = [
            section for section in self._stock["powers"]
            if "names" not in section.fields and section.key not in self._used
        ]  # fmt: skip
        self._rng.shuffle(any_strength)
        chosen = next(iter([*own, *any_strength]), None)
        if chosen is not None:
            self._used.add(chosen.key)
        return chosen
