"""Heroes: one who goes along with the child, made into a companion, and one whom a story is about."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from story_service.assignment import Protagonist
from story_service.offline.cleaning import clean, clean_name
from story_service.offline.russian.morphology import CASES, Forms, Gender, Morphology
from story_service.offline.russian.names import Child, declined, gender_of
from story_service.offline.russian.numerals import joined
from story_service.offline.stock import Section

_NOUNS: Mapping[Gender, Forms] = {
    "m": dict(zip(CASES, ("герой", "героя", "герою", "героя", "героем", "герое"), strict=True)),
    "f": dict(zip(CASES, ("героиня", "героини", "героине", "героиню", "героиней", "героине"), strict=True)),
}
_MOST_QUALITIES = 4


@dataclass(frozen=True, slots=True)
class HeroCast:
    """The hero as the stories need one."""

    companion: Section
    slots: Mapping[str, str]
    """The name, the looks and the qualities, each of the latter closed as a sentence or empty."""


@dataclass(frozen=True, slots=True)
class _Named:
    """How the stories speak of a hero. Where the name has no known cases, a hero or a heroine stands for it."""

    name: str
    gender: Gender
    noun: Forms
    subject: str
    forms: Forms
    called: str
    """With the noun before the name."""
    known: bool
    """Whether the name can stand alone: somebody said, or the name itself says, how verbs agree with it."""

    @classmethod
    def of(cls, hero: Protagonist, morphology: Morphology, *, room: int, words: int) -> Self:
        name = " ".join(clean_name(hero.name, limit=room).split()[:words])
        given: Mapping[str, Gender] = {"female": "f", "male": "m"}
        known = given.get(hero.gender) or (gender_of(name, morphology) if name else None)
        gender: Gender = known or "m"
        noun = _NOUNS[gender]
        forms = (declined(name, {"f": "femn", "m": "masc"}[gender], morphology) if name and known else None) or noun
        return cls(
            name=name,
            gender=gender,
            noun=noun,
            subject=name if name and known else noun["nom"],
            forms=forms,
            called=f"{noun['nom']} по имени {name}" if name else noun["nom"],
            known=known is not None,
        )


def cast_hero(hero: Protagonist, template: Section, morphology: Morphology, *, room: int, words: int) -> HeroCast:
    """The hero as the child's companion, named in the nominative.

    `room` is the number of characters and `words` the number of words that the name may take up.
    """
    named = _Named.of(hero, morphology, room=room, words=words)
    companion = Section(
        "hero",
        {
            "name": ", ".join([named.subject, *(named.forms[case] for case in CASES[1:])]),
            "gender": named.gender,
            "who": named.called,
            "first": named.subject if named.known else named.called,
            "hello": f"Я {named.name}" if named.name else "Я тот самый герой",
        },
        template.bodies,
    )
    said = {"hero": named.name or named.noun["nom"]}
    return HeroCast(companion, said | _described(hero, (*hero.personality_traits, *hero.strengths, *hero.interests)))


def lead(hero: Protagonist, morphology: Morphology, *, room: int, words: int) -> tuple[Child, Mapping[str, str]]:
    """The hero as the one whom the story is about, and the slots of looks and qualities; see `cast_hero`."""
    named = _Named.of(hero, morphology, room=room, words=words)
    who = Child(
        name=named.name or named.noun["nom"],
        gender=named.gender,
        subject=named.subject,
        cases={**named.forms, "nom": named.subject},
        noun=named.noun,
        first=named.subject if named.known and named.name else named.called,
    )
    return who, _described(hero, (*hero.personality_traits, *hero.strengths))


def _described(hero: Protagonist, qualities: Iterable[str]) -> dict[str, str]:
    looks = clean(hero.appearance, limit=120)
    kept = [one for one in (clean(one, limit=40) for one in qualities) if any(char.isalnum() for char in one)]
    return {
        "looks": f"«{looks}»." if looks else "",
        "qualities": f"{joined([f'«{one}»' for one in kept[:_MOST_QUALITIES]])}." if kept else "",
    }
