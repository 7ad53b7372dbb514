"""The scenes of the journey, in their order, and what is said between them."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Generic

from offline_writer.cast import CastT, Interest, Stock
from offline_writer.fitting import Block, Paragraphs, Unit
from offline_writer.stock import Line, Realiser, Section, by_key, capitalised

Scene = tuple[Section | None, str]
"""A scene with what it turns on; None where no scene was left for that."""


class Occasion(Mapping[str, str]):
    """Slots of one scene: what it turns on, and a fresh spot of the realm each time that one is asked for."""

    _SLOTS = ("spot", "Spot", "topic", "strength", "Strength")

    def __init__(self, spots: list[str], topic: str = "") -> None:
        self._spots = spots
        self._topic = topic

    def __getitem__(self, slot: str) -> str:
        if slot in {"topic", "strength"}:
            return self._topic
        if slot == "Strength":
            quote = self._topic[: self._topic.startswith("\u2018")]
            return quote + self._topic[len(quote) :][:1].upper() + self._topic[len(quote) + 1 :]
        spot = self._spots.pop(0)
        self._spots.append(spot)
        return spot if slot == "spot" else capitalised(spot)

    def __contains__(self, slot: object) -> bool:
        return slot in self._SLOTS

    def __iter__(self) -> Iterator[str]:
        return iter(self._SLOTS)

    def __len__(self) -> int:
        return len(self._SLOTS)


class Journey(Generic[CastT]):
    """Lays out one journey. A language says how long a realm is, and what else is met and said there."""

    _SCENES_TO_A_REALM: ClassVar[int]
    _ANY_INTEREST: ClassVar[tuple[str, ...]]
    """Scenes for an interest that has none of its own."""

    def __init__(self, stock: Stock, cast: CastT, realiser: Realiser, rng: random.Random) -> None:
        self._stock = stock
        self._cast = cast
        self._realiser = realiser
        self._rng = rng
        self._used: set[str] = set()
        self._realms = self._travelled()
        self._links = self._between()

    def blocks(self) -> tuple[Block, ...]:
        """Returns every scene that this journey could have; the engine takes the first few or many."""
        scenes = [one for one in self._stock["stations"] if "realm" not in one.fields and self._suits(one)]
        self._rng.shuffle(scenes)
        return tuple(block for at, realm in enumerate(self._realms) for block in self._in_realm(realm, at, scenes))

    def first_abroad(self) -> str:
        """Returns the key of the first scene in a second realm: once it is told, the way has to bend back."""
        return "scene 1.0"

    def before_its_scenes(self) -> Iterator[Block]:
        """What comes between the departure and the first scene."""
        yield from ()

    def _more_links(self) -> list[Unit]:
        """What else is said on the way."""
        return []

    def _meet(self, spread: list[tuple[Section, str]]) -> None:
        """Puts the scenes that only this child or hero meets into the first realm."""
        insert(spread, self._loved(self._cast.interests[:3]), (0, 2, 5))

    def _wanted(self, at: int, own: int, left: int) -> int:
        """How many of the scenes that are `left` come into the realm `at`, which has some of its `own`."""
        del at
        return max(0, min(self._SCENES_TO_A_REALM - own, left))

    def _travelled(self) -> list[Section]:
        known = by_key(self._stock["themes"])
        ahead = [known[key] for key in self._cast.realm.listed("next")]
        self._rng.shuffle(ahead)
        return [self._cast.realm, *ahead]

    def _between(self) -> list[Unit]:
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

    def _suits(self, section: Section) -> bool:
        told_of = section.fields.get("only", self._cast.kind)
        return told_of == self._cast.kind and self._realiser.suits(Line("", readers=section.fields.get("readers", "")))

    def _loved(self, interests: Sequence[Interest]) -> list[Scene]:
        return [(self._interest(interest), interest.phrase) for interest in interests]

    def _interest(self, interest: Interest) -> Section | None:
        scenes = by_key(self._stock["interests"])
        fitting = [interest.category] if interest.category in scenes else []
        rest = list(self._ANY_INTEREST)
        self._rng.shuffle(rest)
        for key in fitting + rest:
            if key not in self._used:
                self._used.add(key)
                return scenes[key]
        return None

    def _in_realm(self, realm: Section, at: int, scenes: list[Section]) -> Iterator[Block]:
        own = [one for one in self._stock["stations"] if one.fields.get("realm") == realm.key and self._suits(one)]
        self._rng.shuffle(own)
        spread: list[tuple[Section, str]] = [(scenes.pop(), "") for _ in range(self._wanted(at, len(own), len(scenes)))]
        for section in own:
            spread.insert(self._rng.randint(0, min(2, len(spread))), (section, ""))
        if at == 0:
            self._meet(spread)
        spots = list(realm.listed("spots", "|"))
        self._rng.shuffle(spots)
        glimpses = list(realm.lines("glimpses"))
        self._rng.shuffle(glimpses)
        for number, (section, topic) in enumerate(spread):
            occasion = Occasion(spots, topic)
            paragraphs = self._realiser.paragraphs(section.body(), occasion)
            if number == 0 and at:
                paragraphs = (*self._realiser.paragraphs(realm.body("cross"), realm.fields), *paragraphs)
            yield Block(
                key=f"scene {at}.{number}",
                paragraphs=(*paragraphs, *self._link(glimpses)),
                elastic=True,
                glimpse=Unit(self._realiser.text(section.fields["home"], occasion), 1),
            )

    def _link(self, glimpses: list[Line]) -> Paragraphs:
        """A paragraph to walk on in: something seen, said or felt between two scenes."""
        if glimpses and (not self._links or self._rng.random() < 0.4):
            return ((self._realiser.unit(glimpses.pop()),),)
        return ((self._links.pop(),),) if self._links else ()


def insert(spread: list[tuple[Section, str]], scenes: Iterable[Scene], places: tuple[int, ...]) -> None:
    """Puts the scenes that there are at these places, as far as there are places."""
    found = [(scene, topic) for scene, topic in scenes if scene is not None]
    for place, told in zip(places, found, strict=False):
        spread.insert(place, told)
