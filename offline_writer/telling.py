"""The arc of every language: the parts that the shape of its plot lists, one after the other."""

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Generic

from offline_writer.brief import Feature, OfflineBrief, Outline, random_for
from offline_writer.cast import CastBuilder, CastT, Stock, called, gift
from offline_writer.fitting import Arc, Block, Paragraphs, Unit
from offline_writer.journey import Journey
from offline_writer.stock import Body, Realiser, Section, by_key, suits

_CLOSE_UNDER_WORDS = 70
"""With less than this to go, a text of another hand gets only a calm close."""
_AFTER_OTHERS = "device, scenes, back, moral, payoff, arriving, finish, homeward, ending"
"""Parts that follow a text of another hand."""
_SHORTEN = {"departure": 0, "homeward": 0, "finish": 3, "arrival": 4, "moral": 5}
"""Where a part stands in the order of shortening."""


def _bare(paragraphs: Paragraphs) -> Paragraphs:
    """Returns what carries the story: a second time, that is enough."""
    return tuple(filter(None, (tuple(unit for unit in paragraph if not unit.level) for paragraph in paragraphs)))


class Teller(ABC, Generic[CastT]):
    """A language except its titles, the beginning of its stories, and what only they have on the way.

    A shape of the stock lists its parts: names of the methods below, or beginnings of keys of its own sections, of
    which one is told.
    """

    features: ClassVar[frozenset[Feature]] = frozenset({"hero", "combined", "sequel"})

    def __init__(self, stock: Stock, casts: CastBuilder[CastT]) -> None:
        self._stock = stock
        self._casts = casts

    def story(self, brief: OfflineBrief) -> Arc:
        """Returns the arc of the shape that the outline has, or else of one that the child has not heard lately."""
        cast = self._casts.cast(brief)
        outline = Outline(
            setting=cast.slots["place"],
            companion=called(cast.companion),
            plot_shape=cast.shape.key,
            mood=cast.shape.fields.get("mood", ""),
            gift=gift(cast.moral),
        )
        return Arc(tuple(self._parts(cast, brief, cast.shape.listed("parts"))), outline, cast.understood)

    def continuation(self, brief: OfflineBrief, *, told: str, budget: int) -> Arc:
        """From a quiet moment that fits any text to the turn and the calm ending; or only the last of these."""
        cast = self._casts.cast(brief, told=told)
        realiser = self._casts.realiser(cast, random_for(brief, "prose"))
        sections = self._told(cast, "continuations")
        if budget < _CLOSE_UNDER_WORDS:
            closes = [section for section in sections if section.key.startswith("close")]
            return Arc((self._block(cast, realiser, cast.picker.one(closes)),))
        bridges = [section for section in sections if not section.key.startswith(("close", "finish"))]
        bridge = self._block(cast, realiser, cast.picker.one(bridges), shorten=0)
        if budget < 2 * _CLOSE_UNDER_WORDS:
            return Arc((bridge, self._ending(cast, realiser, with_companion=None)))
        return Arc((bridge, *self._parts(cast, brief, tuple(_AFTER_OTHERS.split(", ")))))

    def bridges(self, brief: OfflineBrief) -> Iterator[str]:
        """Yields the beginnings of all continuations."""
        cast = self._casts.cast(brief)
        realiser = self._casts.realiser(cast, random_for(brief, "prose"))
        for section in self._told(cast, "continuations"):
            if section.key != "finish":
                for source in self._first_words(section):
                    yield realiser.text(source)

    @abstractmethod
    def _beginning(self, cast: CastT, realiser: Realiser) -> Iterator[Block]:
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

    def _parts(self, cast: CastT, brief: OfflineBrief, parts: tuple[str, ...]) -> Iterator[Block]:
        realiser = self._casts.realiser(cast, random_for(brief, "prose"))
        way = tuple(self._way(cast, realiser, brief, parts)) if "scenes" in parts else ()
        begun = ""
        for part in parts:
            if part == "beginning":
                yield from self._beginning(cast, realiser)
            elif part == "arriving":
                yield from self._arriving(cast, realiser)
            elif part == "ending":
                yield self._ending(cast, realiser, with_companion=cast.companion)
            elif found := self._sections(cast, part):
                ordered = cast.picker.ordered(found)
                # What sets out on a cart comes home on it: a close belongs to the beginning of its number.
                pair = [one for one in ordered if part == "close" and one.key == begun.replace(".begin", ".close")]
                section = (pair or ordered)[0]
                begun = section.key if part == "begin" else begun
                yield self._block(
                    cast, realiser, section, key=part, homeward=part == "homeward",
                    spare=part in {"departure", "choice", "homeward"},
                    shorten=int(section.fields.get("shorten", _SHORTEN.get(part, 2))),
                )  # fmt: skip
            else:
                yield from (block for at, block in way if at == part)

    def _sections(self, cast: CastT, part: str) -> list[Section]:
        """Returns the sections of which one is this part."""
        if part in {"tale", "arrival"} and "topic" in cast.shape.fields and not cast.wished:
            return []
        if part in {"departure", "moral"}:
            return [cast.realm if part == "departure" else cast.moral]
        file, start = {
            "arrival": ("resolutions", cast.outcome),
            "finish": ("continuations", part),
            "lesson": ("lessons", cast.moral.key.partition(".")[0]),
            "homeward": ("endings", part),
        }.get(part, ("shapes", f"{cast.shape.key}.{part}"))
        return [
            one for one in self._stock[file]
            if re.match(rf"{re.escape(start)}(?![a-z])", one.key) and one.allows("plots", cast.plot)
            and one.allows("fits", cast.realm.key) and suits(one.fields.get("readers", ""), cast.band.readers)
        ]  # fmt: skip

    def _way(
        self, cast: CastT, realiser: Realiser, brief: OfflineBrief, parts: tuple[str, ...]
    ) -> Iterator[tuple[str, Block]]:
        """Yields the scenes and what goes with them, each with its part."""
        journey = self._journey(cast, realiser, random_for(brief, "way"))
        scenes = journey.blocks()
        device = cast.picker.one(self._stock["devices"])
        again = cast.picker.in_short(device)
        marks = list(device.lines("links")) if "device" in parts and not again else []
        random_for(brief, "marks").shuffle(marks)
        for block in journey.before_its_scenes():
            yield "scenes", block
        for at, scene in enumerate(scenes):
            mark: Paragraphs = ((realiser.unit(marks.pop()),),) if at % 3 == 1 and marks else ()
            yield "scenes", replace(scene, paragraphs=(*scene.paragraphs, *mark))
        back = by_key(self._stock["links"])["back"]
        yield "back", Block(key="back", paragraphs=realiser.paragraphs(back.body()), requires=journey.first_abroad())
        for part, body, at in (("device", "", 0), ("payoff", "payoff", 2)):
            # A scene too long for the story comes before the told ones only where nothing is pinned.
            pinned = cast.picker.pinned
            if at < len(scenes) and (not pinned or cast.picker.key(device) in pinned):
                yield part, Block(
                    key=part, requires=scenes[at].key, scene="" if body else cast.picker.key(device),
                    paragraphs=() if again else realiser.paragraphs(device.body(body)),
                )  # fmt: skip

    def _ending(self, cast: CastT, realiser: Realiser, *, with_companion: Section | None) -> Block:
        endings = [one for one in self._told(cast, "endings") if not one.key.startswith("homeward")]
        ending = cast.picker.one(endings)
        goodbye: Body = with_companion.body("bye") if with_companion is not None else ()
        long = (*ending.body(), *goodbye, *ending.body("after"))
        tiny = realiser.paragraphs(ending.body("tiny"))
        told = tiny if not ending.body() else realiser.paragraphs(long)
        told, tiny = (_bare(tiny or told),) * 2 if cast.picker.in_short(ending) else (told, tiny)
        return Block(key="ending", paragraphs=told, short=tiny, shorten=2, scene=cast.picker.key(ending))

    def _block(
        self, cast: CastT, realiser: Realiser, section: Section, *, key: str = "", shorten: int = 0,
        homeward: bool = False, spare: bool = False, tiny_extra: str = "",
    ) -> Block:  # fmt: skip
        tiny: Paragraphs | None = realiser.paragraphs(section.body("tiny")) or None
        if tiny is not None and tiny_extra and (text := realiser.text(f"{{{tiny_extra}}}")):
            tiny = (*tiny[:-1], (*tiny[-1], Unit(text)))
        again = cast.picker.in_short(section)
        brief = key in cast.shape.listed("brief") or again or not section.body()
        told = tiny if tiny is not None and brief else realiser.paragraphs(section.body())
        told, tiny = (_bare(told), tiny and _bare(tiny)) if again else (told, tiny)
        if cast.picker.mentioned(section):
            told = realiser.paragraphs(section.body("again"))
        return Block(
            key=key or section.key, paragraphs=told, short=tiny, shorten=shorten, homeward=homeward, spare=spare,
            scene=cast.picker.key(section),
        )  # fmt: skip

    def _told(self, cast: CastT, file: str) -> tuple[Section, ...]:
        """Returns the file for this kind of story, where that differs."""
        return self._stock.get(f"{cast.kind}_{file}", self._stock[file])
