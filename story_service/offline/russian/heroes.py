"""A hero who goes along with the child: made into a companion, so that every scene can bear him or her."""

from collections.abc import Mapping
from dataclasses import dataclass

from story_service.offline.brief import OfflineHero
from story_service.offline.cleaning import clean, clean_name
from story_service.offline.russian.morphology import CASES, Forms, Gender, Morphology
from story_service.offline.russian.names import declined, gender_of
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


def cast_hero(hero: OfflineHero, template: Section, morphology: Morphology, *, room: int, words: int) -> HeroCast:
    """Named in the nominative; where the name has no known cases, a hero or a heroine stands for it.

    `room` is the number of characters and `words` the number of words that the name may take up.
    """
    name = " ".join(clean_name(hero.name, limit=room).split()[:words])
    given: Mapping[str, Gender] = {"female": "f", "male": "m"}
    known = given.get(hero.gender) or (gender_of(name, morphology) if name else None)
    gender: Gender = known or "m"
    noun = _NOUNS[gender]
    forms = (declined(name, {"f": "femn", "m": "masc"}[gender], morphology) if name and known else None) or noun
    subject = name if name and known else noun["nom"]
    called = f"{noun['nom']} по имени {name}" if name else noun["nom"]
    looks = clean(hero.appearance, limit=120)
    qualities = [clean(one, limit=40) for one in (*hero.personality_traits, *hero.strengths, *hero.interests)]
    kept = [one for one in qualities if any(char.isalnum() for char in one)][:_MOST_QUALITIES]
    companion = Section(
        "hero",
        {
            "name": ", ".join([subject, *(forms[case] for case in CASES[1:])]),
            "gender": gender,
            "who": called,
            "first": subject if known else called,
            "hello": f"Я {name}" if name else "Я тот самый герой",
        },
        template.bodies,
    )
    return HeroCast(
        companion,
        {
            "hero": name or noun["nom"],
            "looks": f"«{looks}»." if looks else "",
            "qualities": f"{joined([f'«{one}»' for one in kept])}." if kept else "",
        },
    )
