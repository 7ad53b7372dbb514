"""The character of a wish: a noun phrase with its forms and pronouns."""

import re
from dataclasses import dataclass

from offline_writer.english.lexicon import Lexicon
from offline_writer.english.phrases import Person, article, in_person, number

_COUNTS = tuple(number(value) for value in range(2, 19))
_DETERMINER = re.compile(rf"^(?:a|an|the|my|our|some|many|{'|'.join(_COUNTS)})\s+", re.IGNORECASE)
_OWNER = re.compile(r"^[\w-]+\u2019s\s+(?=\w)")
_MODIFIER = re.compile(r"\s+(?:with|from|in|on|at|of|without|under|inside|behind|near|called|named|made)\s+")

_NOT_NOMINAL = frozenset(
    {
        "to", "i", "me", "you", "he", "she", "it", "we", "they", "us", "him", "them",
        "is", "are", "was", "were", "am", "be", "not", "no", "never", "and", "or", "but",
        "if", "how", "what", "when", "why", "please", "that", "this", "there", "the", "a", "an",
        "my", "our", "about",
    }
)  # fmt: skip


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
        """Returns subject, object and possessive; a proper name stands for itself, since its gender is unknown."""
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
    text = re.sub(r"^\d+(?=\s)", lambda match: number(int(match[0][:3])), text)
    determiner = _OWNER.match(text) or _DETERMINER.match(text)
    rest = text[determiner.end() :] if determiner else text
    core, *_ = _MODIFIER.split(rest, maxsplit=1)
    words = core.casefold().split()
    if not 0 < len(words) <= 5 or len(rest.split()) > 10 or _NOT_NOMINAL.intersection(words):
        return None
    if any(word in lexicon.base_of and word not in lexicon.plurals for word in words[1:-1] if word.endswith("s")):
        return None
    head = _head(words, lexicon)
    plural = head in lexicon.plurals and head not in lexicon.animate
    noun = lexicon.plurals[head] if plural else head
    animate = plural or head in lexicon.animate
    if determiner is None:
        return _bare(rest, core, noun, lexicon, plural=plural, animate=animate)
    word = determiner[0].strip()
    later = f"the {core}"
    if word.casefold() in {"a", "an"}:
        first = f"{article(rest)} {rest}"
    elif word.casefold() == "my":
        first = in_person(f"my {rest}", person)
        later = core[:1].upper() + core[1:] if head in lexicon.kin and len(words) == 1 else later
    else:
        first = f"{word if determiner.re is _OWNER else word.casefold()} {rest}"
        if word.casefold() in _COUNTS:
            plural, later = True, f"the {word.casefold()} {core}"
        plural = plural or word.casefold() in {"some", "many"}
    return Subject(first, later, noun, plural=plural, animate=animate)


def _head(words: list[str], lexicon: Lexicon) -> str:
    two = " ".join(words[-2:])
    return two if two in lexicon.animate or two in lexicon.plurals or two in lexicon.definite else words[-1]


def _bare(rest: str, core: str, noun: str, lexicon: Lexicon, *, plural: bool, animate: bool) -> Subject | None:
    """Without a determiner: "dinosaurs", "moon", "little owl", "Zorro"."""
    lowered = core.casefold()
    if core[:1].isupper() and lexicon.known.isdisjoint(lowered.split()) and len(core.split()) <= 3:
        return Subject(core, core, "", plural=False, animate=True, proper=True) if rest == core else None
    rest = lowered + rest[len(core) :]
    if plural:
        return Subject(f"some {rest}", f"the {lowered}", noun, plural=True, animate=True)
    if noun in lexicon.definite:
        return Subject(f"the {rest}", f"the {lowered}", noun, plural=False, animate=animate)
    return Subject(f"{article(rest)} {rest}", f"the {lowered}", noun, plural=False, animate=True) if animate else None


def subject(text: str, lexicon: Lexicon, person: Person) -> Subject | None:
    """Reads "a dragon", "two brave kittens", "the moon", "my cat", "a fox and a hen"; returns None where it cannot."""
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
