"""The arc of every language: opening, wish, departure, journey, turn, way home, calm ending."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Generic

from offline_writer.brief import Feature, OfflineBrief, random_for
from offline_writer.cast import CastBuilder, CastT, Stock
from offline_writer.fitting import Arc, Block, Paragraphs, Unit
from offline_writer.journey import Journey
from offline_writer.stock import Body, Realiser, Section, by_key

_CLOSE_UNDER_WORDS = 70
"""With less than this to go, a text of another hand gets only a calm close."""


class Teller(ABC, Generic[CastT]):
    """A language except its titles, the beginning of its stories, and what only they have on the way."""

    features: ClassVar[frozenset[Feature]] = frozenset({"hero", "combined", "sequel"})

    def __init__(self, stock: Stock, casts: CastBuilder[CastT]) -> None:
        self._stock = stock
        self._casts = casts

    def story(self, brief: OfflineBrief, rng: random.Random) -> Arc:
        """Opening, wish, departure, journey, obstacle, attempts and turn, arrival, way home, calm ending."""
        cast = self._casts.cast(brief)
        realiser = self._casts.realiser(cast, rng)
        opening = rng.choice(self._told(cast, "openings"))
        wish = rng.choice([section for section in self._told(cast, "wishes") if section.key.startswith(cast.plot)])
        before = tuple(self._beginning(cast, realiser, rng, opening=opening, wish=wish))
        departure = self._block(realiser, cast.realm, key="departure", shorten=0, spare=True)
        return Arc((*before, *self._way(cast, realiser, rng, departure), *self._home(cast, realiser, rng)))

    def continuation(self, brief: OfflineBrief, rng: random.Random, *, told: str, budget: int) -> Arc:
        """From a quiet moment that fits any text to the turn and the calm ending; or only the last of these."""
        cast = self._casts.cast(brief, told=told)
        realiser = self._casts.realiser(cast, rng)
        sections = self._told(cast, "continuations")
        if budget < _CLOSE_UNDER_WORDS:
            closes = [section for section in sections if section.key.startswith("close")]
            return Arc((self._block(realiser, rng.choice(closes)),))
        bridges = [section for section in sections if not section.key.startswith(("close", "finish"))]
        bridge = self._block(realiser, rng.choice(bridges), shorten=0)
        finish = self._block(realiser, by_key(self._stock["continuations"])["finish"], shorten=3)
        if budget < 2 * _CLOSE_UNDER_WORDS:
            return Arc((bridge, self._ending(cast, realiser, rng, with_companion=None)))
        return Arc((bridge, *self._way(cast, realiser, rng, None, finish), *self._home(cast, realiser, rng)))

    def bridges(self, brief: OfflineBrief) -> Iterator[str]:
        """Yields the beginnings of all continuations."""
        cast = self._casts.cast(brief)
        realiser = self._casts.realiser(cast, random_for(brief, "bridges"))
        for section in self._told(cast, "continuations"):
            if section.key != "finish":
                for source in self._first_words(section):
                    yield realiser.text(source)

    @abstractmethod
    def _beginning(
        self, cast: CastT, realiser: Realiser, rng: random.Random, *, opening: Section, wish: Section
    ) -> Iterator[Block]:
        """What is told before the departure."""

    @abstractmethod
    def _journey(self, cast: CastT, realiser: Realiser, rng: random.Random) -> Journey[CastT]:
        """The scenes of the way."""

    def _first_words(self, continuation: Section) -> Iterator[str]:
        """Lines of the stock, or beginnings of them, with which it can begin."""
        yield continuation.lines()[0].text

    def _arriving(self, cast: CastT, realiser: Realiser) -> Iterator[Block]:
        """What comes before the arrival."""
        del cast, realiser
        yield from ()

    def _way(
        self, cast: CastT, realiser: Realiser, rng: random.Random, departure: Block | None, arrival: Block | None = None
    ) -> Iterator[Block]:
        journey = self._journey(cast, realiser, rng)
        scenes = journey.blocks()
        first, third = scenes[0].key, scenes[min(2, len(scenes) - 1)].key
        device = rng.choice(self._stock["devices"])
        marks = list(device.lines("links"))
        rng.shuffle(marks)
        yield Block(key="device", paragraphs=realiser.paragraphs(device.body()), requires=first)
        if departure is not None:
            yield departure
        yield from journey.before_its_scenes()
        for at, scene in enumerate(scenes):
            mark: Paragraphs = ((realiser.unit(marks.pop()),),) if at % 3 == 1 and marks else ()
            yield Block(key=scene.key, paragraphs=(*scene.paragraphs, *mark), elastic=True, glimpse=scene.glimpse)
        back = by_key(self._stock["links"])["back"]
        yield Block(key="back", paragraphs=realiser.paragraphs(back.body()), requires=journey.first_abroad())
        yield self._block(realiser, cast.moral, key="moral", shorten=5)
        yield Block(key="payoff", paragraphs=realiser.paragraphs(device.body("payoff")), requires=third)
        yield from self._arriving(cast, realiser)
        ways = [one for one in self._stock["resolutions"] if one.key.partition(".")[0] == cast.outcome]
        yield arrival or self._block(realiser, rng.choice(ways), shorten=4)

    def _home(self, cast: CastT, realiser: Realiser, rng: random.Random) -> Iterator[Block]:
        ways = [section for section in self._stock["endings"] if section.key.startswith("homeward")]
        yield self._block(realiser, rng.choice(ways), shorten=0, homeward=True)
        yield self._ending(cast, realiser, rng, with_companion=cast.companion)

    def _ending(self, cast: CastT, realiser: Realiser, rng: random.Random, *, with_companion: Section | None) -> Block:
        ending = rng.choice([one for one in self._told(cast, "endings") if not one.key.startswith("homeward")])
        goodbye: Body = with_companion.body("bye") if with_companion is not None else ()
        long = (*ending.body(), *goodbye, *ending.body("after"))
        tiny = realiser.paragraphs(ending.body("tiny"))
        return Block(key="ending", paragraphs=realiser.paragraphs(long), short=tiny, shorten=2)

    def _block(
        self, realiser: Realiser, section: Section, *, key: str = "", shorten: int = 0, homeward: bool = False,
        spare: bool = False, tiny_extra: str = "",
    ) -> Block:  # fmt: skip
        tiny: Paragraphs | None = realiser.paragraphs(section.body("tiny")) or None
        if tiny is not None and tiny_extra and (text := realiser.text(f"{{{tiny_extra}}}")):
            tiny = (*tiny[:-1], (*tiny[-1], Unit(text)))
        return Block(
            key=key or section.key, paragraphs=realiser.paragraphs(section.body()), short=tiny, shorten=shorten,
            homeward=homeward, spare=spare,
        )  # fmt: skip

    def _told(self, cast: CastT, file: str) -> tuple[Section, ...]:
        """Returns the file for this kind of story, where that differs."""
        return self._stock.get(f"{cast.kind}_{file}", self._stock[file])
