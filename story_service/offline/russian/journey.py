"""The scenes of the journey, in the order in which they are met, and what is said between them."""

import random
from collections.abc import Iterator, Mapping

from story_service.offline.arc import Block, Paragraphs, Unit
from story_service.offline.realising import Realiser
from story_service.offline.russian.cast import Cast, Stock
from story_service.offline.russian.interests import Interest
from story_service.offline.stock import Line, Section

_SCENES_TO_A_REALM = 7
_ANY_INTEREST = ("any_gate", "any_memory", "any_fair")
_PLACES_OF_INTERESTS = (0, 2, 5)


class _Occasion(Mapping[str, str]):
    """Slots of one scene: its topic, and a fresh spot of the realm each time that one is asked for."""

    def __init__(self, spots: list[str], topic: str = "") -> None:
        self._spots = spots
        self._topic = topic

    def __getitem__(self, slot: str) -> str:
        if slot == "topic":
            return self._topic
        spot = self._spots.pop(0)
        self._spots.append(spot)
        return spot if slot == "spot" else spot[:1].upper() + spot[1:]

    def __contains__(self, slot: object) -> bool:
        return slot in {"spot", "Spot", "topic"}

    def __iter__(self) -> Iterator[str]:
        return iter(("spot", "Spot", "topic"))

    def __len__(self) -> int:
        return 3


class Journey:
    """Lays out one journey."""

    def __init__(self, stock: Stock, cast: Cast, realiser: Realiser, rng: random.Random) -> None:
        self._stock = stock
        self._cast = cast
        self._realiser = realiser
        self._rng = rng
        self._realms = self._travelled()
        self._links = self._between()

    def blocks(self) -> tuple[Block, ...]:
        """Every scene that this journey could have; the engine takes the first few or many."""
        scenes = [section for section in self._stock["stations"] if "realm" not in section.fields]
        self._rng.shuffle(scenes)
        return tuple(block for at, realm in enumerate(self._realms) for block in self._in_realm(realm, at, scenes))

    def first_abroad(self) -> str:
        """Key of the first scene in a second realm: once it is told, the way has to bend back."""
        return "scene 1.0"

    def _travelled(self) -> list[Section]:
        known = {section.key: section for section in self._stock["themes"]}
        ahead = [known[key] for key in self._cast.realm.listed("next")]
        self._rng.shuffle(ahead)
        return [self._cast.realm, *ahead]

    def _between(self) -> list[Unit]:
        sections = {section.key: section for section in self._stock["links"]}
        struck = [self._realiser.unit(line) for line in sections["clock"].lines()]
        lines = [*sections["rest"].lines(), *self._cast.companion.lines()]
        links = struck + [self._realiser.unit(line) for line in lines]
        links += [self._realiser.unit(self._rng.choice(sections["far"].lines()))]
        self._rng.shuffle(links)
        # They are taken from the end; wherever the hours fall, they strike in their order.
        hours = [unit for unit in links if unit in struck]
        for at, hour in zip([links.index(unit) for unit in hours], reversed(struck), strict=True):
            links[at] = hour
        return links

    def _interest(self, interest: Interest, used: set[str]) -> Section | None:
        scenes = {section.key: section for section in self._stock["interests"]}
        rest = list(_ANY_INTEREST)
        self._rng.shuffle(rest)
        for key in ([interest.category] if interest.category in scenes else []) + rest:
            if key not in used:
                used.add(key)
                return scenes[key]
        return None

    def _in_realm(self, realm: Section, at: int, scenes: list[Section]) -> Iterator[Block]:
        own = [section for section in self._stock["stations"] if section.fields.get("realm") == realm.key]
        self._rng.shuffle(own)
        last = at == len(self._realms) - 1
        wanted = len(scenes) if last else min(_SCENES_TO_A_REALM - len(own), len(scenes))
        spread: list[tuple[Section, str]] = [(scenes.pop(), "") for _ in range(wanted)]
        for section in own:
            spread.insert(self._rng.randint(0, min(2, len(spread))), (section, ""))
        if at == 0:
            used: set[str] = set()
            for place, interest in zip(_PLACES_OF_INTERESTS, self._cast.interests, strict=False):
                scene = self._interest(interest, used)
                if scene is not None:
                    spread.insert(place, (scene, interest.phrase))
        spots = list(realm.listed("spots", "|"))
        self._rng.shuffle(spots)
        glimpses = list(realm.lines("glimpses"))
        self._rng.shuffle(glimpses)
        for number, (section, topic) in enumerate(spread):
            occasion = _Occasion(spots, topic)
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
