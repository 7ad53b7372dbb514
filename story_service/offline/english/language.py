"""English as the engine sees it: a brief in, an arc out."""

import random
from collections.abc import Iterator
from importlib import resources

from story_service.offline.arc import Arc, Block, Paragraphs, Unit
from story_service.offline.brief import Feature, OfflineBrief
from story_service.offline.english.cast import Cast, Casting
from story_service.offline.english.journey import Journey
from story_service.offline.english.lexicon import Lexicon
from story_service.offline.english.phrases import title_case
from story_service.offline.english.wish import Helping, Quest
from story_service.offline.realising import Realiser
from story_service.offline.seeding import random_for
from story_service.offline.stock import Body, Section, load

_CLOSE_UNDER_WORDS = 70
"""With less than this to go, a text of another hand gets only a calm close."""


class English:
    """Stories for one child, in British English."""

    code = "en"
    features: frozenset[Feature] = frozenset({"hero", "combined", "sequel"})

    def __init__(self) -> None:
        self._stock = load(resources.files("story_service.offline.english") / "stock")
        self._casting = Casting(self._stock, Lexicon(self._stock["lexicon"]))

    def title(self, brief: OfflineBrief) -> str:
        """For example: Mia and the Dragon Who Could Not Sleep."""
        cast = self._casting.cast(brief)
        rng = random_for(brief, "title")
        kind = _plot(cast)
        extra: dict[str, str] = {}
        if isinstance(cast.wish, Helping):
            who = cast.wish.who
            full = f"{who.later}{',' if who.proper else ''} who {cast.wish.trouble.past}"
            extra["wtitle"] = title_case(full if len(full.split()) <= 10 else who.later)
        elif isinstance(cast.wish, Quest):
            extra["qtitle"] = title_case(cast.slots["q"])
        titles = {section.key: section for section in self._stock["phrases"]}
        line = rng.choice(titles.get(f"titles_{cast.kind}_{kind}", titles[f"titles_{kind}"]).lines())
        return self._casting.realiser(cast, rng).text(line.text, extra)

    def summary(self, brief: OfflineBrief) -> str:
        """Who went where with whom and why; what happened at the gate; that it ended well."""
        cast = self._casting.cast(brief)
        slots = cast.slots
        aim = "to take a wish where it belongs"
        if isinstance(cast.wish, Helping):
            aim = f"to help {slots['wfull']}"
        elif isinstance(cast.wish, Quest):
            aim = f"to {slots['q']}"
        company = f"with {slots['p']}, {cast.companion.fields['a']},"
        who = cast.name
        known_for = f", known for {slots['known_for']}," if slots.get("known_for") else ""
        if cast.kind == "hero":
            who = f"the hero {cast.name}{known_for}"
        elif cast.kind == "combined":
            company = f"with the hero {slots['h']}{known_for or ','}"
        return (
            f"One night {who} set out through {slots['place']} {company} {aim}. {slots['gist']} "
            f"It all ended well, and {cast.name} came home with {slots['boon']} and fell asleep."
        )

    def story(self, brief: OfflineBrief, rng: random.Random) -> Arc:
        """Opening, wish, departure, journey, obstacle, attempts and turn, arrival, way home, calm ending."""
        cast = self._casting.cast(brief)
        realiser = self._casting.realiser(cast, rng)
        plot = _plot(cast)
        opening = rng.choice(self._told(cast, "openings"))
        wish = rng.choice([section for section in self._told(cast, "wishes") if section.key.startswith(plot)])
        before = (
            # The hero's coming, or what is remembered, can open a story as well.
            self._block(
                realiser,
                opening,
                shorten=1,
                tiny_extra="calendar_tiny",
                spare=cast.kind != "hero" and cast.remembers,
            ),
            *self._memory(cast, realiser, rng),
            self._block(realiser, wish, shorten=3),
        )
        departure = self._block(realiser, cast.realm, key="departure", shorten=0, spare=True)
        return Arc((*before, *self._way(cast, realiser, rng, departure), *self._home(cast, realiser, rng)))

    def continuation(self, brief: OfflineBrief, rng: random.Random, *, told: str, budget: int) -> Arc:
        """From a quiet moment that fits any text to the turn and the calm ending; or only the last of these."""
        cast = self._casting.cast(brief, told=told)
        realiser = self._casting.realiser(cast, rng)
        sections = self._told(cast, "continuations")
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
        """How every continuation begins."""
        cast = self._casting.cast(brief)
        realiser = self._casting.realiser(cast, random_for(brief, "bridges"))
        for section in self._told(cast, "continuations"):
            for body in ("", "tiny"):
                if section.key != "finish" and section.body(body):
                    # Whom the continuation brings along depends on the text before it.
                    yield realiser.text(section.lines(body)[0].text.partition("{")[0])

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
        if feat := journey.feat():
            at_least = realiser.paragraphs(self._section("heroes", "feat").body())
            yield Block(key="feat", paragraphs=feat, short=at_least, shorten=6, spare=True)
        for at, scene in enumerate(scenes):
            mark = ((realiser.unit(marks.pop()),),) if at % 3 == 1 and marks else ()
            yield _with(scene, mark)
        back = self._section("links", "back")
        yield Block(key="back", paragraphs=realiser.paragraphs(back.body()), requires=journey.first_abroad())
        yield self._block(realiser, cast.moral, key="moral", shorten=5)
        yield Block(key="payoff", paragraphs=realiser.paragraphs(device.body("payoff")), requires=third)
        if cast.kind == "combined":
            yield self._block(realiser, self._section("heroes", "together"), spare=True)
        yield arrival or self._block(realiser, rng.choice(self._ways_to("resolutions", _outcome(cast))), shorten=4)

    def _home(self, cast: Cast, realiser: Realiser, rng: random.Random) -> Iterator[Block]:
        ways = [section for section in self._stock["endings"] if section.key.startswith("homeward")]
        yield self._block(realiser, rng.choice(ways), shorten=0, homeward=True)
        yield self._ending(cast, realiser, rng, with_companion=cast.companion)

    def _memory(self, cast: Cast, realiser: Realiser, rng: random.Random) -> Iterator[Block]:
        if cast.remembers:
            told = [section for section in self._stock["memories"] if section.fields.get("kind") == _told_as(cast)]
            yield self._block(realiser, rng.choice(told), shorten=0)

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

    def _ways_to(self, file: str, key: str) -> list[Section]:
        return [section for section in self._stock[file] if section.key.partition(".")[0] == key]

    def _section(self, file: str, key: str) -> Section:
        return next(section for section in self._stock[file] if section.key == key)


def _with(scene: Block, paragraphs: Paragraphs) -> Block:
    return Block(key=scene.key, paragraphs=(*scene.paragraphs, *paragraphs), elastic=True, glimpse=scene.glimpse)


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


def _told_as(cast: Cast) -> str:
    return "hero" if cast.kind == "hero" else "child"
