"""Russian as the engine sees it: a brief in, an arc out."""

import random
from collections.abc import Iterator
from importlib import resources

from story_service.offline.arc import Arc, Block, Paragraphs, Unit
from story_service.offline.brief import Feature, OfflineBrief
from story_service.offline.realising import Realiser
from story_service.offline.russian.cast import Cast, Casting
from story_service.offline.russian.journey import Journey
from story_service.offline.russian.morphology import Morphology
from story_service.offline.russian.wish import Helping, Quest
from story_service.offline.seeding import random_for
from story_service.offline.stock import Body, Section, load

_CLOSE_UNDER_WORDS = 70
"""With less than this to go, a text of another hand gets only a calm close."""
_LONGEST_TITLE = 11
"""Words."""


class Russian:
    """Stories about a child, about a hero, about both, and sequels to them."""

    code = "ru"
    features: frozenset[Feature] = frozenset({"hero", "combined", "sequel"})

    def __init__(self) -> None:
        self._stock = load(resources.files("story_service.offline.russian") / "stock")
        self._casting = Casting(self._stock, Morphology())

    def title(self, brief: OfflineBrief) -> str:
        """For example: Маша и дракон, который не может уснуть."""
        cast = self._casting.cast(brief)
        rng = random_for(brief, "title")
        realiser = self._casting.realiser(cast, rng)
        line = rng.choice(self._about(cast, "titles").lines())
        title = realiser.text(line.text)
        if isinstance(cast.wish, Helping) and len(title.split()) > _LONGEST_TITLE:
            title = realiser.text(line.text, {"wclause": ""})
        return title

    def summary(self, brief: OfflineBrief) -> str:
        """Who went where with whom and why; what happened at the gate; that it ended well."""
        cast = self._casting.cast(brief)
        realiser = self._casting.realiser(cast, random_for(brief, "summary"))
        return " ".join(realiser.text(line.text) for line in self._about(cast, "summary").lines())

    def story(self, brief: OfflineBrief, rng: random.Random) -> Arc:
        """Opening, wish, departure, journey, obstacle, attempts and turn, arrival, way home, calm ending."""
        cast = self._casting.cast(brief)
        realiser = self._casting.realiser(cast, rng)
        opening = rng.choice(self._told(cast, "openings"))
        wish = rng.choice([section for section in self._told(cast, "wishes") if section.key.startswith(_plot(cast))])
        before = (
            self._block(realiser, opening, shorten=1, tiny_extra="calendar_tiny"),
            self._block(realiser, wish, shorten=3),
            Block(key="portrait", paragraphs=realiser.paragraphs(cast.companion.body("portrait")), short=(), shorten=0),
        )
        departure = self._block(realiser, cast.realm, key="departure", shorten=0, spare=True)
        return Arc((*before, *self._way(cast, realiser, rng, departure), *self._home(cast, realiser, rng)))

    def continuation(self, brief: OfflineBrief, rng: random.Random, *, told: str, budget: int) -> Arc:
        """From a quiet moment that fits any text to the turn and the calm ending; or only the last of these."""
        cast = self._casting.cast(brief, told=told)
        realiser = self._casting.realiser(cast, rng)
        sections = self._stock["continuations"]
        if budget < _CLOSE_UNDER_WORDS:
            closes = [section for section in sections if section.key.startswith("close")]
            return Arc((self._block(realiser, rng.choice(closes)),))
        bridges = [section for section in sections if not section.key.startswith(("close", "finish"))]
        bridge = self._block(realiser, rng.choice(bridges), shorten=0)
        finish = self._block(realiser, self._section("continuations", "finish"), shorten=3)
        if budget < 2 * _CLOSE_UNDER_WORDS:
            return Arc((bridge, self._ending(cast, realiser, rng, with_companion=None)))
        return Arc((bridge, *self._way(cast, realiser, rng, None, finish), *self._home(cast, realiser, rng)))

    def bridges(self, brief: OfflineBrief) -> Iterator[str]:
        """The first sentence of every continuation."""
        cast = self._casting.cast(brief)
        realiser = self._casting.realiser(cast, random_for(brief, "bridges"))
        for section in self._stock["continuations"]:
            if section.key != "finish":
                yield realiser.text(section.lines()[0].text)

    def _way(
        self, cast: Cast, realiser: Realiser, rng: random.Random, departure: Block | None, arrival: Block | None = None
    ) -> Iterator[Block]:
        journey = Journey(self._stock, cast, realiser, rng)
        scenes = journey.blocks()
        first, third = scenes[0].key, scenes[min(2, len(scenes) - 1)].key
        device = rng.choice(self._stock["devices"])
        marks = list(device.lines("links"))
        rng.shuffle(marks)
        yield Block(key="device", paragraphs=realiser.paragraphs(device.body()), requires=first)
        if departure is not None:
            yield departure
        for at, scene in enumerate(scenes):
            mark: Paragraphs = ((realiser.unit(marks.pop()),),) if at % 3 == 1 and marks else ()
            yield Block(key=scene.key, paragraphs=(*scene.paragraphs, *mark), elastic=True, glimpse=scene.glimpse)
        back = self._section("links", "back")
        yield Block(key="back", paragraphs=realiser.paragraphs(back.body()), requires=journey.first_abroad())
        yield self._block(realiser, cast.moral, key="moral", shorten=5)
        yield Block(key="payoff", paragraphs=realiser.paragraphs(device.body("payoff")), requires=third)
        ways = [one for one in self._stock["resolutions"] if one.key.partition(".")[0] == _outcome(cast)]
        yield arrival or self._block(realiser, rng.choice(ways), shorten=4)

    def _home(self, cast: Cast, realiser: Realiser, rng: random.Random) -> Iterator[Block]:
        ways = [section for section in self._stock["endings"] if section.key.startswith("homeward")]
        yield self._block(realiser, rng.choice(ways), shorten=0, homeward=True)
        yield self._ending(cast, realiser, rng, with_companion=cast.companion)

    def _ending(self, cast: Cast, realiser: Realiser, rng: random.Random, *, with_companion: Section | None) -> Block:
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

    def _told(self, cast: Cast, file: str) -> tuple[Section, ...]:
        """The file as it is for this kind of story, where that differs."""
        return self._stock.get(f"{cast.kind}_{file}", self._stock[file])

    def _about(self, cast: Cast, what: str) -> Section:
        """Titles or summaries for the plot, as they are for this kind of story where that differs."""
        key = f"{what}_{_plot(cast)}"
        heroes = {section.key: section for section in self._stock["heroes"]}
        own = {"hero": heroes.get(f"solo_{key}"), "combined": heroes.get(key)}.get(cast.kind)
        return own or self._section("phrases", key)

    def _section(self, file: str, key: str) -> Section:
        return next(section for section in self._stock[file] if section.key == key)


def _plot(cast: Cast) -> str:
    if isinstance(cast.wish, Helping):
        return "helper"
    return "quest" if isinstance(cast.wish, Quest) else "note"


def _outcome(cast: Cast) -> str:
    if isinstance(cast.wish, Helping):
        return cast.wish.trouble.kind
    if isinstance(cast.wish, Quest):
        return "find" if cast.wish.seen is not None else "do"
    return "note"
