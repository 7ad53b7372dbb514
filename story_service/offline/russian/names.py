"""The child's name in the cases, or the noun that stands for it where the name can not be declined."""

from collections.abc import Mapping
from dataclasses import dataclass

from story_service.offline.russian.morphology import CASES, Forms, Gender, Morphology, like

_NOUNS: Mapping[str, Forms] = {
    "girl": dict(zip(CASES, ("девочка", "девочки", "девочке", "девочку", "девочкой", "девочке"), strict=True)),
    "boy": dict(zip(CASES, ("мальчик", "мальчика", "мальчику", "мальчика", "мальчиком", "мальчике"), strict=True)),
    "little": dict(zip(CASES, ("малыш", "малыша", "малышу", "малыша", "малышом", "малыше"), strict=True)),
    "child": dict(zip(CASES, ("ребёнок", "ребёнка", "ребёнку", "ребёнка", "ребёнком", "ребёнке"), strict=True)),
}
_OLD_ENOUGH = 8


@dataclass(frozen=True, slots=True)
class Child:
    """How the stories speak of the child."""

    name: str
    """In the nominative, as it was given."""
    gender: Gender
    """What agrees with `subject`: "m" or "f"."""
    subject: str
    """What does things: the name, or a noun of common sense where nobody said whether it is a girl or a boy."""
    cases: Forms
    """The name declined; where it can not be, the noun. The nominative is `subject`."""
    noun: Forms
    """A girl, a boy, a little one."""
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
    """What a Russian name says by itself: "f" of Мария, "m" of Игорь, nothing of Саша."""
    first, *_ = [*name.replace("-", " ").split(), ""]
    readings = [word for word in morphology.words(first, "Name", "nomn", "sing") if "Fixd" not in word]
    if not readings or any("ms-f" in word for word in readings):
        return None
    genders = {word.gender for word in readings}
    return genders.pop() if len(genders) == 1 else None


def child(name: str, gender: str, age: int | None, morphology: Morphology) -> Child:
    """Cast by the gender that was given ("female", "male", ""), else by that of the name, else by none."""
    known: Mapping[str, Gender] = {"female": "f", "male": "m"}
    agreement = known.get(gender) or (gender_of(name, morphology) if name else None)
    young = "little" if age is None or age < _OLD_ENOUGH else "child"
    noun = _NOUNS[{"f": "girl", "m": "boy"}.get(agreement or "", young)]
    forms = declined(name, {"f": "femn", "m": "masc"}.get(agreement or "", ""), morphology) if name else None
    subject = name if name and agreement else noun["nom"]
    first = name if agreement else f"{noun['nom']} по имени {name}"
    return Child(
        name=name or noun["nom"], gender=agreement or "m", subject=subject,
        cases={**(forms or noun), "nom": subject}, noun=noun, first=first if name else noun["nom"],
    )  # fmt: skip


def _part(name: str, gender: str, morphology: Morphology) -> Forms | None:
    readings = list(morphology.words(name, "Name", "nomn", "sing"))
    fitting = [word for word in readings if not gender or gender in word or "ms-f" in word]
    for word in fitting:
        if "Fixd" not in word and (forms := word.forms("sing")) is not None:
            return {case: name if case == "nom" else like(name, forms[case]) for case in CASES}
    return None
