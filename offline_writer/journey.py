"""The scenes on the way, in their order, and what is said between them."""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Generic, NamedTuple

from offline_writer.cast import CastT, Interest, Stock
from offline_writer.fitting import Block, Paragraphs, Unit
from offline_writer.stock import Line, Realiser, Section, by_key, capitalised


class Scene(NamedTuple):
    """A scene of the stock, where it is, and what it turns on."""

    place: Section
    section: Section
    topic: str = ""

    @property
    def key(self) -> str:
        """Its key in the outline."""
        return f"{self.section.id}@{self.place.key}"


class Occasion(dict[str, str]):
    """Slots of one scene: what it turns on, its place's refrain, and a fresh spot each time that one is asked for."""

    def __init__(self, spots: list[str], topic: str = "", refrain: str = "") -> None:
        quote = topic[: topic.startswith("\u2018")]
        strength = quote + capitalised(topic[len(quote) :])
        super().__init__(topic=topic, strength=topic, Strength=strength, refrain=refrain, spot="", Spot="")
        self._spots = spots

    def __getitem__(self, slot: str) -> str:
        if slot not in {"spot", "Spot"}:
            return super().__getitem__(slot)
        spot = self._spots.pop(0)
        self._spots.append(spot)
        return spot if slot == "spot" else capitalised(spot)


class Journey(Generic[CastT]):
    """Lays out the scenes of one story. A language says how long a realm is, and what else is met and said there."""

    _SCENES_TO_A_REALM: ClassVar[int]
    _ANY_INTEREST: ClassVar[tuple[str, ...]]
    """Scenes for an interest that has none of its own."""

    def __init__(self, stock: Stock, cast: CastT, realiser: Realiser, rng: random.Random) -> None:
        self._stock = stock
        self._cast = cast
        self._realiser = realiser
        self._rng = rng
        self._met = [scene for scene in self._topical() if not cast.picker.heard(scene.section.id)]
        self._route = tuple(self._pinned() if cast.picker.pinned else self._free())
        self._links = self._between()

    def blocks(self) -> tuple[Block, ...]:
        """Returns every scene that this story could have; the engine takes the first few or many."""
        return tuple(self._told())

    def first_abroad(self) -> str:
        """Returns the key of the first scene in a second realm: once it is told, the way has to bend back."""
        return "scene 1.0"

    def before_its_scenes(self) -> Iterator[Block]:
        """What comes between the departure and the first scene."""
        yield from ()

    def _more_links(self) -> list[Unit]:
        """What else is said on the way."""
        return []

    def _topical(self) -> Iterator[Scene]:
        """Scenes that only this child or hero meets, in the first realm."""
        yield from self._loved(self._cast.interests[:3])

    def _loved(self, interests: Sequence[Interest]) -> Iterator[Scene]:
        scenes = by_key(one for one in self._stock["interests"] if self._suits(one))
        rest = self._cast.picker.ordered(
            one for key, one in scenes.items() if key.partition(".")[0] in self._ANY_INTEREST
        )
        used: set[str] = set()
        for interest in interests:
            own = [scenes[interest.category]] if interest.category in scenes else []
            if (scene := next((one for one in own + rest if one.key not in used), None)) is not None:
                used.add(scene.key)
                yield Scene(self._cast.realm, scene, interest.phrase)

    def _places(self) -> list[Section]:
        """Where the story goes: places of its shape, if it has scenes of its own, and the realms."""
        shape, picker = self._cast.shape, self._cast.picker
        ahead = [realm for realm in self._stock["themes"] if realm.key in self._cast.realm.listed("next")]
        own = [shape] if "scenes" in shape.fields else []
        own += [one for one in self._stock["shapes"] if one.key in shape.listed("then")]
        # Scenes of the realms are long for the youngest.
        at_home = self._cast.band.readers == "youngest" and shape.listed("then")
        return own if at_home else [*own, self._cast.realm, *picker.ordered(ahead)]

    def _fitting(self, place: Section) -> tuple[list[Section], list[Section]]:
        """Returns the scenes that are only told at this place, and those that may be told here, too."""
        stations = [one for one in self._stock["stations"] if self._suits(one)]
        wanted = place.fields.get("scenes", "")
        if wanted:
            return [one for one in stations if wanted in one.listed("in")], []
        own = [one for one in stations if one.fields.get("realm") == place.key]
        anywhere = [one for one in stations if "realm" not in one.fields and "in" not in one.fields]
        return own, [one for one in anywhere if one.allows("fits", place.key)]

    def _suits(self, section: Section) -> bool:
        told_of = section.fields.get("only", self._cast.kind)
        age = self._cast.band.oldest
        return (
            told_of == self._cast.kind
            and int(section.fields.get("from", 0)) <= age
            and self._realiser.suits(Line("", readers=section.fields.get("readers", "")))
        )

    def _free(self) -> Iterator[Scene]:
        """Scenes that the child has not heard, then in all but the shortest stories the others, the oldest first."""
        picker = self._cast.picker
        used: set[str] = set()
        heard: list[Scene] = []
        for place in self._places():
            own, anywhere = (
                [one for one in picker.ordered(some) if one.id not in used] for some in self._fitting(place)
            )
            heard += [Scene(place, one) for one in own + anywhere if picker.heard(one.id)]
            own = [one for one in own if not picker.heard(one.id)]
            spread = [one for one in anywhere if not picker.heard(one.id)]
            if place.fields.get("scenes"):
                del own[self._cast.own_scenes :]
            else:
                del spread[max(0, self._SCENES_TO_A_REALM - len(own)) :]
            for number, section in enumerate(own):
                spread.insert(min(2 * number, len(spread)), section)
            used.update(section.id for section in spread)
            scenes = [Scene(place, section) for section in spread]
            if place == self._cast.realm:
                for where, scene in zip((0, 2, 5), self._met, strict=False):
                    scenes.insert(where, scene)
            yield from scenes
        last: dict[str, Scene] = {}
        for scene in heard:
            last.setdefault(scene.section.id, scene)
        oldest = picker.ordered(scene.section for scene in last.values() if not picker.shortest)
        yield from (last[section.id] for section in oldest)

    def _pinned(self) -> Iterator[Scene]:
        """The scenes of the outline, in its order."""
        files = ("stations", "interests", "powers")
        sections = {one.id: one for file in files for one in self._stock.get(file, ())}
        places = {place.key: place for place in (*self._stock["themes"], *self._stock["shapes"])}
        topics = {scene.section.id: scene.topic for scene in self._topical()}
        for key in self._cast.picker.pinned:
            name, _, place = key.partition("@")
            if name in sections and place in places:
                yield Scene(places[place], sections[name], topics.get(name, ""))

    def _between(self) -> list[Unit]:
        if "scenes" in self._cast.shape.fields:
            talk = self._cast.companion.lines() if self._cast.band.readers != "youngest" else ()
            links = [self._realiser.unit(line) for line in talk]
            self._rng.shuffle(links)
            return links
        sections = by_key(self._stock["links"])
        struck = [self._realiser.unit(line) for line in sections["clock"].lines()]
        lines = [*sections["rest"].lines(), *self._cast.companion.lines()]
        links = struck + [self._realiser.unit(line) for line in lines] + self._more_links()
        links += [self._realiser.unit(self._rng.choice(sections["far"].lines()))]
        links = [unit for unit in links if unit.text]
        self._rng.shuffle(links)
        # They are taken from the end; wherever the hours fall, they strike in their order.
        hours = [unit for unit in links if unit in struck]
        for at, hour in zip([links.index(unit) for unit in hours], reversed(struck), strict=True):
            links[at] = hour
        return links

    def _told(self) -> Iterator[Block]:
        spots: dict[str, list[str]] = {}
        glimpses: dict[str, list[Line]] = {}
        realm, number = -1, 0
        before: Section | None = None
        seen: set[str] = set()
        left: set[str] = set()
        for scene in self._route:
            place = scene.place
            if place.key not in spots:
                spots[place.key] = self._shuffled(place.listed("spots", "|"))
                glimpses[place.key] = self._shuffled(place.lines("glimpses"))
            realm, number = (realm, number + 1) if place == before else (realm + 1, 0)
            occasion = Occasion(spots[place.key], scene.topic, place.fields.get("refrain", ""))
            paragraphs = self._realiser.paragraphs(scene.section.body(), occasion)
            if before is not None and place.key not in seen:
                onward = () if before.key in left else self._realiser.paragraphs(before.body("onward"))
                left.add(before.key)
                paragraphs = (*onward, *self._realiser.paragraphs(place.body("cross"), place.fields), *paragraphs)
            before = place
            seen.add(place.key)
            home = scene.section.fields.get("home", "")
            yield Block(
                key=f"scene {realm}.{number}",
                paragraphs=(*paragraphs, *self._link(glimpses[place.key])),
                elastic=True,
                glimpse=Unit(self._realiser.text(home, occasion), 1) if home else None,
                scene=scene.key,
            )

    def _shuffled(self, some: Iterable[Line] | Iterable[str]) -> list:  # type: ignore[type-arg]
        mixed = list(some)
        self._rng.shuffle(mixed)
        return mixed

    def _link(self, glimpses: list[Line]) -> Paragraphs:
        """A paragraph to walk on in: something seen, said or felt between two scenes."""
        if glimpses and (not self._links or self._rng.random() < 0.4):
            return ((self._realiser.unit(glimpses.pop()),),)
        return ((self._links.pop(),),) if self._links else ()
