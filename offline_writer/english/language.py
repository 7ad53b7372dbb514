"""English for the engine: a brief in, an arc out."""

import random
from collections.abc import Iterator
from importlib import resources
from itertools import zip_longest

from offline_writer.brief import OfflineBrief, random_for
from offline_writer.cast import Helping, Quest, Stock
from offline_writer.english.cast import EnglishCast, EnglishCastBuilder
from offline_writer.english.grammar import Lexicon, title_case
from offline_writer.fitting import Block, Unit
from offline_writer.journey import Journey, Occasion, Scene
from offline_writer.stock import Realiser, Section, by_key, load
from offline_writer.telling import Teller

_FEAT_OF_ITS_OWN = 4
"""Up to so many minutes a hero's strength is seen at work even where there is no room for a journey."""


class EnglishJourney(Journey[EnglishCast]):
    """Lays out one journey."""

    _SCENES_TO_A_REALM = 6
    _ANY_INTEREST = ("asked", "memory", "play")

    def __init__(self, stock: Stock, cast: EnglishCast, realiser: Realiser, rng: random.Random) -> None:
        self._stock, self._cast = stock, cast
        self._used: set[str] = set()
        self._strengths = list(cast.portrait.strengths) if cast.portrait is not None else []
        if cast.remembers:
            # What the last story began with, this one does not.
            self._strengths = self._strengths[1:] + self._strengths[:1]
        self._feat: tuple[Section | None, str] = (None, "")
        if self._strengths and cast.minutes <= _FEAT_OF_ITS_OWN:
            strength = self._strengths.pop(0)
            self._feat = (self._power(strength), strength)
        super().__init__(stock, cast, realiser, rng)

    def before_its_scenes(self) -> Iterator[Block]:
        """Yields the scene of the first strength, for a story without room for a journey."""
        scene, strength = self._feat
        if scene is None:
            return
        sections = by_key(self._stock["heroes"])
        spots = list(self._cast.realm.listed("spots", "|"))
        seen = self._realiser.paragraphs(scene.body(), Occasion(spots[-1:], strength))
        at_least = self._realiser.paragraphs(sections["feat"].body())
        yield Block(key="feat", paragraphs=seen, short=at_least, shorten=6, spare=True, scene=scene.id)

    def _more_links(self) -> list[Unit]:
        """Returns remarks on the hero's ways and, in a sequel, on the earlier story."""
        links: list[Unit] = []
        if self._cast.portrait is not None:
            sections = by_key(self._stock["heroes"])
            links += [self._realiser.unit(line) for line in sections["links"].lines()]
            ways = list(sections["trait_links"].lines())
            self._rng.shuffle(ways)
            traits = self._cast.portrait.traits
            links += [self._realiser.unit(line, {"trait": trait}) for line, trait in zip(ways, traits, strict=False)]
        if self._cast.remembers:
            remembering = by_key(self._stock["memories"])["link"]
            links.append(self._realiser.unit(self._rng.choice(remembering.lines())))
        return [unit for unit in links if unit.text]

    def _topical(self) -> Iterator[Scene]:
        loved = list(self._loved(self._cast.interests[:3]))
        known = [
            Scene(self._cast.realm, power, strength)
            for strength in self._strengths if (power := self._power(strength)) is not None
        ]  # fmt: skip
        for pair in zip_longest(known, loved):
            yield from filter(None, pair)

    def _power(self, strength: str) -> Section | None:
        """Returns a scene in which the hero does just that, or one for any strength."""
        words = f" {strength.casefold()} "
        own = [
            section for section in self._stock["powers"]
            if any(f" {name} " in words for name in section.listed("names")) and section.key not in self._used
        ]  # fmt: skip
        any_strength = [
            section for section in self._stock["powers"]
            if "names" not in section.fields and section.key not in self._used
        ]  # fmt: skip
        chosen = next(iter([*own, *self._cast.picker.ordered(any_strength)]), None)
        if chosen is not None:
            self._used.add(chosen.key)
        return chosen


class English(Teller[EnglishCast]):
    """Stories for one child, in British English."""

    code = "en"

    def __init__(self) -> None:
        stock = load(resources.files("offline_writer.english") / "stock")
        super().__init__(stock, EnglishCastBuilder(stock, Lexicon(stock["lexicon"])))

    def title(self, brief: OfflineBrief) -> str:
        """For example: Mia and the Dragon Who Could Not Sleep."""
        cast = self._casts.cast(brief)
        rng = random_for(brief, "title")
        extra: dict[str, str] = {}
        if isinstance(cast.wish, Helping):
            who = cast.wish.who
            full = f"{who.later}{',' if who.proper else ''} who {cast.wish.trouble.past}"
            extra["wtitle"] = title_case(full if len(full.split()) <= 10 else who.later)
        elif isinstance(cast.wish, Quest):
            extra["qtitle"] = title_case(cast.slots["q"])
        titles = by_key(self._stock["phrases"])
        hard = titles["titles_hard"] if "topic" in cast.shape.fields else None
        line = rng.choice(
            (hard or titles.get(f"titles_{cast.kind}_{cast.plot}", titles[f"titles_{cast.plot}"])).lines()
        )
        return self._casts.realiser(cast, rng).text(line.text, extra)

    def _beginning(self, cast: EnglishCast, realiser: Realiser) -> Iterator[Block]:
        # The hero's coming, or what is remembered, can open a story as well.
        spare = cast.kind != "hero" and cast.remembers
        opening = cast.picker.one(self._told(cast, "openings"))
        wishes = [section for section in self._told(cast, "wishes") if section.key.startswith(cast.plot)]
        yield self._block(cast, realiser, opening, shorten=1, tiny_extra="calendar_tiny", spare=spare)
        if cast.remembers:
            told_as = "hero" if cast.kind == "hero" else "child"
            told = [section for section in self._stock["memories"] if section.fields.get("kind") == told_as]
            yield self._block(cast, realiser, cast.picker.one(told), shorten=0)
        yield self._block(cast, realiser, cast.picker.one(wishes), shorten=3)

    def _journey(self, cast: EnglishCast, realiser: Realiser, rng: random.Random) -> EnglishJourney:
        return EnglishJourney(self._stock, cast, realiser, rng)

    def _first_words(self, continuation: Section) -> Iterator[str]:
        for body in ("", "tiny"):
            if continuation.body(body):
                # Whom the continuation brings along depends on the text before it.
                yield continuation.lines(body)[0].text.partition("{")[0]

    def _arriving(self, cast: EnglishCast, realiser: Realiser) -> Iterator[Block]:
        if cast.kind == "combined":
            yield self._block(cast, realiser, by_key(self._stock["heroes"])["together"], spare=True)
