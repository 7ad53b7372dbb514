"""The scenes of the journey, in the order in which they are met, and what is said between them."""

import random
from collections.abc import Iterable, Iterator, Mapping

from story_service.offline.arc import Block, Paragraphs, Unit
from story_service.offline.english.cast import Cast, Stock
from story_service.offline.english.interests import Interest
from story_service.offline.realising import Realiser
from story_service.offline.stock import Line, Section

_SCENES_TO_A_REALM = 6
_OCCASIONAL = ("spot", "Spot", "topic", "strength", "Strength")
_FEAT_OF_ITS_OWN = 4
"""Up to so many minutes a hero's strength is seen at work even where there is no room for a journey."""
_ANY_INTEREST = ("asked", "memory", "play")


class _Occasion(Mapping[str, str]):
    """Slots of one scene: what it turns on, and a fresh spot of the realm each time that one is asked for."""

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
        return spot if slot == "spot" else spot[:1].upper() + spot[1:]

    def __contains__(self, slot: object) -> bool:
        return slot in _OCCASIONAL

    def __iter__(self) -> Iterator[str]:
        return iter(_OCCASIONAL)

    def __len__(self) -> int:
        return len(_OCCASIONAL)


class Journey:
    """Lays out one journey."""

    def __init__(self, stock: Stock, cast: Cast, realiser: Realiser, rng: random.Random) -> None:
        self._stock = stock
        self._cast = cast
        self._realiser = realiser
        self._rng = rng
        self._realms = self._travelled()
        self._links = self._between()
        self._strengths = list(cast.portrait.strengths) if cast.portrait is not None else []
        if cast.remembers:
            # What the last story began with, this one does not.
            self._strengths = self._strengths[1:] + self._strengths[:1]
        self._used: set[str] = set()
        self._feat: tuple[Section | None, str] = (None, "")
        if self._strengths and cast.minutes <= _FEAT_OF_ITS_OWN:
            strength = self._strengths.pop(0)
            self._feat = (self._power(strength, self._used), strength)

    def blocks(self) -> tuple[Block, ...]:
        """Every scene that this journey could have; the engine takes the first few or many."""
        scenes = self._scenes()
        return tuple(block for at, realm in enumerate(self._realms) for block in self._in_realm(realm, at, scenes))

    def feat(self) -> Paragraphs:
        """The scene of the first strength, for a story too short to leave it to the length; empty without one."""
        scene, strength = self._feat
        if scene is None:
            return ()
        spots = list(self._cast.realm.listed("spots", "|"))
        return self._realiser.paragraphs(scene.body(), _Occasion(spots[-1:], strength))

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
        links = struck + [self._realiser.unit(line) for line in lines] + self._about_hero()
        links += [self._realiser.unit(self._rng.choice(sections["far"].lines()))]
        links = [unit for unit in links if unit.text]
        self._rng.shuffle(links)
        # They are taken from the end; wherever the hours fall, they strike in their order.
        hours = [unit for unit in links if unit in struck]
        for at, hour in zip([links.index(unit) for unit in hours], reversed(struck), strict=True):
            links[at] = hour
        return links

    def _about_hero(self) -> list[Unit]:
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

    def _scenes(self) -> list[Section]:
        """Scenes that suit any realm, in a random order."""
        scenes = [
            section for section in self._stock["stations"] if "realm" not in section.fields and self._suits(section)
        ]
        self._rng.shuffle(scenes)
        return scenes

    def _suits(self, section: Section) -> bool:
        told_of = section.fields.get("only", self._cast.kind)
        return told_of == self._cast.kind and self._realiser.suits(Line("", readers=section.fields.get("readers", "")))

    def _interest(self, interest: Interest, used: set[str]) -> Section | None:
        scenes = {section.key: section for section in self._stock["interests"]}
        fitting = [interest.category] if interest.category in scenes else []
        rest = list(_ANY_INTEREST)
        self._rng.shuffle(rest)
        for key in fitting + rest:
            if key not in used:
                used.add(key)
                return scenes[key]
        return None

    def _power(self, strength: str, used: set[str]) -> Section | None:
        """A scene in which the hero does just that, or one that suits whatever it is."""
        words = f" {strength.casefold()} "
        own = [
            section for section in self._stock["powers"]
            if any(f" {name} " in words for name in section.listed("names")) and section.key not in used
        ]  # fmt: skip
        any_strength = [
            section for section in self._stock["powers"]
            if "names" not in section.fields and section.key not in used
        ]  # fmt: skip
        self._rng.shuffle(any_strength)
        chosen = next(iter([*own, *any_strength]), None)
        if chosen is not None:
            used.add(chosen.key)
        return chosen

    def _in_realm(self, realm: Section, at: int, scenes: list[Section]) -> Iterator[Block]:
        own = [
            section
            for section in self._stock["stations"]
            if section.fields.get("realm") == realm.key and self._suits(section)
        ]
        self._rng.shuffle(own)
        taken = [scenes.pop() for _ in range(min(_SCENES_TO_A_REALM - len(own), len(scenes)))]
        spread: list[tuple[Section, str]] = [(section, "") for section in taken]
        for section in own:
            spread.insert(self._rng.randint(0, min(2, len(spread))), (section, ""))
        if at == 0:
            loved = [(self._interest(interest, self._used), interest.phrase) for interest in self._cast.interests]
            known = [(self._power(strength, self._used), strength) for strength in self._strengths]
            _insert(spread, loved, (0, 2, 5) if not known else (1, 4, 7))
            _insert(spread, known, (0, 3, 6))
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


def _insert(
    spread: list[tuple[Section, str]], scenes: Iterable[tuple[Section | None, str]], places: tuple[int, ...]
) -> None:
    found = [(scene, topic) for scene, topic in scenes if scene is not None]
    for place, told in zip(places, found, strict=False):
        spread.insert(place, told)
