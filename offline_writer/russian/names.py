"""The child and the hero by name: declined, or as a noun that replaces a name without cases."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from offline_writer.brief import Protagonist, clean, clean_name
from offline_writer.russian.grammar import CASES, Forms, Gender, Morphology, joined, like, listed
from offline_writer.stock import Section

_NOUNS: Mapping[str, Forms] = {
    "f": listed("девочка, девочки, девочке, девочку, девочкой, девочке"),
    "m": listed("мальчик, мальчика, мальчику, мальчика, мальчиком, мальчике"),
    "little": listed("малыш, малыша, малышу, малыша, малышом, малыше"),
    "child": listed("ребёнок, ребёнка, ребёнку, ребёнка, ребёнком, ребёнке"),
}
_OLD_ENOUGH = 8


@dataclass(frozen=True, slots=True)
class Child:
    """How the stories speak of the child, or of a hero."""

    name: str
    """In the nominative, as it was given."""
    gender: Gender
    cases: Forms
    """The name declined, or a noun; the nominative is what does things, a noun where the gender is not known."""
    noun: Forms
    """A girl, a boy, a little one."""
    called: str
    """With the noun before the name."""
    first: str
    """At the first mention."""


def declined(name: str, gender: str, morphology: Morphology) -> Forms | None:
    """A first name of one or several words in all cases; None where a word of it is not known or has no cases."""
    parts = name.replace("-", " - ").split()
    forms = [dict.fromkeys(CASES, "-") if part == "-" else _part(part, gender, morphology) for part in parts]
    known = [one for one in forms if one is not None]
    if not known or len(known) < len(forms):
        return None
    return {case: " ".join(one[case] for one in known).replace(" - ", "-") for case in CASES}


def gender_of(name: str, morphology: Morphology) -> Gender | None:
    """Returns the gender that a Russian name implies: "f" for Мария, "m" for Игорь, None for Саша."""
    first, *_ = [*name.replace("-", " ").split(), ""]
    readings = [word for word in morphology.words(first, "Name", "nomn", "sing") if "Fixd" not in word]
    if not readings or any("ms-f" in word for word in readings):
        return None
    genders = {word.gender for word in readings}
    return genders.pop() if len(genders) == 1 else None


def child(name: str, gender: str, age: int | None, morphology: Morphology) -> Child:
    """Returns the child, by the given gender ("female", "male", ""), else by that of the name, else by none."""
    young = "little" if age is None or age < _OLD_ENOUGH else "child"
    return _cast(name, gender, {**_NOUNS, "": _NOUNS[young]}, morphology, unsure=True)


def _cast(name: str, given: str, nouns: Mapping[str, Forms], morphology: Morphology, *, unsure: bool) -> Child:
    """`nouns` are by gender, "" where none is known; `unsure`: then a name is declined as well as may be."""
    known: Mapping[str, Gender] = {"female": "f", "male": "m"}
    agreement = known.get(given) or (gender_of(name, morphology) if name else None)
    noun = nouns.get(agreement or "", nouns[""])
    grammeme = {"f": "femn", "m": "masc"}.get(agreement or "", "")
    forms = declined(name, grammeme, morphology) if name and (agreement or unsure) else None
    called = f"{noun['nom']} по имени {name}" if name else noun["nom"]
    subject = name if name and agreement else noun["nom"]
    return Child(
        name=name or noun["nom"], gender=agreement or "m", cases={**(forms or noun), "nom": subject},
        noun=noun, called=called, first=name if name and agreement else called,
    )  # fmt: skip


def _part(name: str, gender: str, morphology: Morphology) -> Forms | None:
    readings = list(morphology.words(name, "Name", "nomn", "sing"))
    fitting = [word for word in readings if not gender or gender in word or "ms-f" in word]
    for word in fitting:
        if "Fixd" not in word and (forms := word.forms("sing")) is not None:
            return {case: name if case == "nom" else like(name, forms[case]) for case in CASES}
    return None


_HERO_NOUNS: Mapping[str, Forms] = {
    "m": listed("герой, героя, герою, героя, героем, герое"),
    "f": listed("героиня, героини, героине, героиню, героиней, героине"),
}
_MOST_QUALITIES = 3


def hero(told: Protagonist, morphology: Morphology, *, room: int, words: int) -> Child:
    """Returns the hero, by a name of at most `room` characters and `words` words, or a noun in its place."""
    name = " ".join(clean_name(told.name, limit=room).split()[:words])
    return _cast(name, told.gender, {**_HERO_NOUNS, "": _HERO_NOUNS["m"]}, morphology, unsure=False)


def as_companion(who: Child, template: Section) -> Section:
    """Returns the hero in the companion's place, named in the nominative."""
    fields = {
        "name": ", ".join(who.cases[case] for case in CASES), "gender": who.gender, "who": who.called,
        "first": who.first, "hello": "Я тот самый герой" if who.called == who.noun["nom"] else f"Я {who.name}",
    }  # fmt: skip
    return Section("hero", fields, template.bodies)


def described(told: Protagonist, qualities: Iterable[str]) -> dict[str, str]:
    """Returns the slots of looks and qualities, each closed as a sentence or empty."""
    looks = clean(told.appearance, limit=120)
    kept = [one for one in (clean(one, limit=40) for one in qualities) if any(char.isalnum() for char in one)]
    few = joined([one[:1].lower() + one[1:] for one in kept[:_MOST_QUALITIES]]) if kept else ""
    return {"looks": f"{looks[:1].lower()}{looks[1:]}." if looks else "", "qualities": f"{few}." if kept else ""}
