"""The one whom a wish is about: a noun phrase with its forms and pronouns."""

import re
from dataclasses import dataclass

from story_service.offline.english.lexicon import Lexicon
from story_service.offline.english.phrases import Person, article, in_person

_DETERMINER = re.compile(r"^(a|an|the|my|our|some|two|three|four|five|six|seven|many)\s+", re.IGNORECASE)
_MODIFIER = re.compile(r"\s+(?:with|from|in|on|at|of|without|under|inside|behind|near|called|named|made)\s+")

_NOT_NOMINAL = frozenset(
    "to i me you he she it we they us him them is are was were am be not no never and or but if how what when why "
    "please that this there".split()
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A character as the stories mention it."""

    first: str
    """At the first mention: "a dragon with a cold", "two kittens", "Mia's cat", "Zorro"."""
    later: str
    """At every other: "the dragon", "the two kittens", "the cat", "Zorro"."""
    head: str
    """The noun alone, "" for a proper name."""
    plural: bool
    animate: bool
    proper: bool = False

    def pronoun(self, lexicon: Lexicon) -> tuple[str, str, str]:
        """Subject, object and possessive; a proper name stands for itself, since nobody knows whose it is."""
        if self.proper:
            return self.later, self.later, self.later + "\u2019s"
        if self.plural:
            return "they", "them", "their"
        if self.head in lexicon.female:
            return "she", "her", "her"
        if self.head in lexicon.male:
            return "he", "him", "his"
        return "it", "it", "its"


def _single(text: str, lexicon: Lexicon, person: Person) -> Subject | None:
    determiner = _DETERMINER.match(text)
    rest = text[determiner.end() :] if determiner else text
    core, *_ = _MODIFIER.split(rest, maxsplit=1)
    words = core.casefold().split()
    if not 0 < len(words) <= 5 or len(rest.split()) > 10 or _NOT_NOMINAL.intersection(words):
        return None
    head = core.split()[-1].casefold()
    two = " ".join(core.casefold().split()[-2:])
    head = two if two in lexicon.animate | set(lexicon.plurals) | lexicon.definite else head
    plural = head in lexicon.plurals and head not in lexicon.animate
    animate = head in lexicon.animate or head in lexicon.plurals
    noun = lexicon.plurals.get(head, head) if plural else head
    word = determiner[1].casefold() if determiner else ""
    if word in {"a", "an"}:
        return Subject(f"{article(rest)} {rest}", f"the {core}", noun, plural=False, animate=animate)
    if word == "the":
        return Subject(f"the {rest}", f"the {core}", noun, plural=plural, animate=animate)
    if word in {"my", "our"}:
        first = in_person(f"my {rest}", person) if word == "my" else f"our {rest}"
        return Subject(first, f"the {core}", noun, plural=plural, animate=animate)
    if word:
        return Subject(f"{word} {rest}", f"the {core if word in {'some', 'many'} else f'{word} {core}'}", noun,
                       plural=True, animate=animate)  # fmt: skip
    if plural:
        return Subject(f"some {rest}", f"the {core}", noun, plural=True, animate=animate)
    if head in lexicon.definite and rest == core:
        return Subject(f"the {rest}", f"the {core}", noun, plural=False, animate=animate)
    if animate and core.casefold() == core:
        return Subject(f"{article(rest)} {rest}", f"the {core}", noun, plural=False, animate=True)
    if core[:1].isupper() and rest == core and len(core.split()) <= 3 and core.casefold() not in lexicon.known:
        return Subject(core, core, "", plural=False, animate=True, proper=True)
    if animate:
        return _single(core.casefold(), lexicon, person) if rest == core else None
    return None


def subject(text: str, lexicon: Lexicon, person: Person) -> Subject | None:
    """Reads "a dragon", "two brave kittens", "the moon", "my cat", "a fox and a hen"; None where it cannot."""
    parts = re.split(r",?\s+and\s+", text)
    read = [_single(part, lexicon, person) for part in parts]
    known = [one for one in read if one is not None]
    if not known or len(known) < len(parts) or len(parts) > 2:
        return None
    if len(known) == 1:
        return known[0]
    return Subject(
        " and ".join(one.first for one in known), " and ".join(one.later for one in known), "", plural=True,
        animate=all(one.animate for one in known),
    )  # fmt: skip
