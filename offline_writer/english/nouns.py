"""Noun phrases: the character of a wish with its forms and pronouns, and interests after "to love"."""

import re
from dataclasses import dataclass

from offline_writer.brief import clean
from offline_writer.cast import Interest, first_few
from offline_writer.english.grammar import Lexicon, Person, article, in_person, number, progressive
from offline_writer.stock import capitalised

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
        later = capitalised(core) if head in lexicon.kin and len(words) == 1 else later
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


_STRANGE = re.compile(r"[!?.:;,\u2026()@$%&/+]")
_LIKES = re.compile(r"^(?:i|she|he|they) (?:really )?(?:likes?|loves?) (?=\w)|^(?:likes|loves) (?=\w)", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:a|an)\s+", re.IGNORECASE)
_INSTRUMENTS = frozenset({"piano", "violin", "guitar"})
_LONGEST = 5


def _lowered(phrase: str, lexicon: Lexicon) -> str:
    """Returns the phrase without a capital that a form or a phone added."""
    first = phrase.split(maxsplit=1)[0]
    if first.casefold() in lexicon.brands:
        return phrase
    known = phrase.casefold() in lexicon.known or first.casefold() in lexicon.known | {"the", "my", "to", "a", "an"}
    return first.casefold() + phrase[len(first) :] if known and not phrase.isupper() else phrase


def interest(text: str, lexicon: Lexicon, person: Person) -> Interest | None:
    """Returns the interest, None where nothing is left after cleaning."""
    phrase = clean(text, limit=60)
    if not any(char.isalnum() for char in phrase):
        return None
    if len(phrase.split()) > _LONGEST or _STRANGE.search(text.strip().rstrip(".,;")):
        return Interest(f"\u201c{phrase}\u201d", "")
    phrase = _lowered(_LIKES.sub("", phrase), lexicon)
    category = lexicon.category(phrase)
    noun = _ARTICLE.sub("", phrase)
    first, *rest = phrase.removeprefix("to ").split()
    if noun in lexicon.animate and noun not in lexicon.definite:
        phrase = lexicon.plural(noun)
    elif phrase in _INSTRUMENTS or (phrase in lexicon.definite and phrase not in {"snow", "night"}):
        phrase = "the " + phrase
    elif first in lexicon.verbs and (phrase.startswith("to ") or rest or first not in lexicon.nounish):
        if phrase.startswith("to ") or not (rest and first in lexicon.nounish):
            phrase = " ".join([progressive(first), *rest])
    elif noun != phrase:
        phrase = f"{article(noun)} {noun}"
    return Interest(in_person(phrase, person), category or lexicon.category(phrase))


def interests(texts: tuple[str, ...], lexicon: Lexicon, person: Person, *, most: int) -> tuple[Interest, ...]:
    """Returns the first interests that are not empty, none twice."""
    return first_few((interest(text, lexicon, person) for text in texts), most)
