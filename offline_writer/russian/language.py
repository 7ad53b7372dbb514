"""Russian for the engine: a brief in, an arc out."""

import random
from collections.abc import Iterator
from importlib import resources

from offline_writer.brief import OfflineBrief, random_for
from offline_writer.cast import Cast, Helping
from offline_writer.fitting import Block, Paragraphs, Unit
from offline_writer.journey import Journey, Scene
from offline_writer.russian.cast import RussianCastBuilder
from offline_writer.russian.grammar import Morphology
from offline_writer.stock import Line, Realiser, Section, by_key, load
from offline_writer.telling import Teller

_LONGEST_TITLE = 11
"""Words."""
_LAST = 6
"""What says how a hero looks gives way to the length after all else."""


class RussianJourney(Journey[Cast]):
    """The last realm has every scene that is left."""

    _SCENES_TO_A_REALM = 7
    _ANY_INTEREST = ("any_gate", "any_memory", "any_fair")

    def _free(self) -> Iterator[Scene]:
        """Adds what no realm had room for; the smallest hear scenes of their own first, what was heard comes last."""
        picker = self._cast.picker
        scenes = {scene.section.id: scene for scene in super()._free()}
        for place in reversed(self._places()):
            for one in picker.ordered(one for some in self._fitting(place) for one in some):
                scenes.setdefault(one.id, Scene(place, one))
        places = {one.id: at for at, one in enumerate(picker.ordered(scene.section for scene in scenes.values()))}
        youngest = self._cast.band.readers == "youngest"

        def rank(scene: Scene) -> tuple[bool, int]:
            heard = picker.heard(scene.section.id)
            late = youngest and scene.section.fields.get("readers") != "<"
            return heard, places[scene.section.id] if heard else late

        yield from sorted(scenes.values(), key=rank)

    def _between(self) -> list[Unit]:
        if "topic" in self._cast.shape.fields:
            return [self._realiser.unit(line) for line in self._cast.companion.lines()]
        return super()._between()

    def _link(self, glimpses: list[Line]) -> Paragraphs:
        return () if self._cast.band.readers == "youngest" else super()._link(glimpses)


class Russian(Teller[Cast]):
    """Stories about a child, about a hero, about both, and sequels to them."""

    code = "ru"

    def __init__(self) -> None:
        stock = load(resources.files("offline_writer.russian") / "stock")
        super().__init__(stock, RussianCastBuilder(stock, Morphology()))

    def title(self, brief: OfflineBrief) -> str:
        """For example: Маша и дракон, который не может уснуть."""
        cast = self._casts.cast(brief)
        rng = random_for(brief, "title")
        realiser = self._casts.realiser(cast, rng)
        if "title" in cast.shape.fields:
            return realiser.text(cast.shape.fields["title"])
        line = rng.choice(self._titles(cast).lines())
        title = realiser.text(line.text)
        if isinstance(cast.wish, Helping) and len(title.split()) > _LONGEST_TITLE:
            title = realiser.text(line.text, {"wclause": ""})
        return title

    def _beginning(self, cast: Cast, realiser: Realiser) -> Iterator[Block]:
        opening = cast.picker.one(self._told(cast, "openings"))
        wishes = [section for section in self._told(cast, "wishes") if section.key.startswith(cast.plot)]
        yield self._block(
            cast, realiser, opening, shorten=_LAST if cast.kind == "hero" else 1, tiny_extra="calendar_tiny"
        )
        yield self._block(cast, realiser, cast.picker.one(wishes), shorten=3)
        yield Block(
            key="portrait", paragraphs=realiser.paragraphs(cast.companion.body("portrait")), short=(), shorten=_LAST
        )

    def _journey(self, cast: Cast, realiser: Realiser, rng: random.Random) -> RussianJourney:
        return RussianJourney(self._stock, cast, realiser, rng)

    def _titles(self, cast: Cast) -> Section:
        """Returns titles for the plot and this kind of story."""
        key = f"titles_{cast.plot}"
        heroes = by_key(self._stock["heroes"])
        own = {"hero": heroes.get(f"solo_{key}"), "combined": heroes.get(key)}.get(cast.kind)
        return own or by_key(self._stock["phrases"])[key]
