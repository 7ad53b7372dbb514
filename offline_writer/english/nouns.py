"""Noun phrases: the character of a wish with its forms and pronouns, and interests after "to love"."""

import re
from dataclasses import dataclass, replace
from itertools import takewhile

from offline_writer.brief import Gender, clean
from offline_writer.cast import Interest, first_few
from offline_writer.english.grammar import Lexicon, Person, article, in_person, inflected, number, progressive
from offline_writer.stock import capitalised

_COUNTS = tuple(number(value) for value in range(2, 19))
_OWNERS = frozenset({"my", "our", "his", "her", "its", "their"})
_DETERMINERS = frozenset({"a", "an", "the", "some", "many", "one", "no", "this", "that", *_COUNTS}) | _OWNERS
_JOINTS = frozenset(
    {"with", "from", "in", "of", "on", "at", "under", "without", "near", "inside", "behind", "for", "between", "about"}
)
_SHORT = 4
"""Words of what belongs to a character at every mention: "the llama in pyjamas"."""
_CALLED = frozenset({"called", "named"})
_PRONOUNS = {"female": ("she", "her"), "male": ("he", "his"), "": ("it", "its")}


@dataclass(frozen=True, slots=True)
class Subject:
    """A character as the stories mention it."""

    first: str
    """At the first mention: "a dragon with a cold", "two kittens", "Mia's cat", "Zorro"."""
    later: str
    """At every other: "the dragon", "the two kittens", "the cat", "Zorro"."""
    head: str
    """The noun alone, "" for a proper name and for two characters."""
    plural: bool
    animate: bool
    gender: Gender = ""
    proper: bool = False

    @property
    def pronoun(self) -> tuple[str, str]:
        """Subject and possessive; a proper name stands for itself, since its gender is unknown."""
        if self.proper and not self.gender:
            return self.later, self.later + "\u2019s"
        return ("they", "their") if self.plural else _PRONOUNS[self.gender]


def noun_phrase(
    words: list[str], lexicon: Lexicon, person: Person, *, several: bool = False
) -> tuple[Subject, int] | None:
    """Reads "a dragon", "two brave kittens", "my dog Rex", "a fox and a hen" at the start of the words.

    Returns it and the number of its words, or None. With `several` it is not the first of them.
    """
    first = _single(words, lexicon, person, several=several)
    if first is None or first[1] + 1 >= len(words) or words[first[1]].casefold() != "and":
        return first
    second = noun_phrase(words[first[1] + 1 :], lexicon, person, several=True)
    if second is None:
        return first
    both = (first[0], second[0])
    owner, child = words[first[1] + 1].casefold(), in_person("my", person) + " "
    if owner in _OWNERS - {"my", "our"} and second[0].first.startswith(child):
        # A mummy duck and her ducklings: not those of the child.
        both = (first[0], replace(second[0], first=f"{owner} {second[0].first.removeprefix(child)}"))
    named = (" and ".join(one.first for one in both), " and ".join(one.later for one in both))
    return Subject(*named, "", plural=True, animate=any(one.animate for one in both)), first[1] + 1 + second[1]


def _single(words: list[str], lexicon: Lexicon, person: Person, *, several: bool) -> tuple[Subject, int] | None:
    lowered = [word.casefold() for word in words]
    determiner = lowered[0] if lowered and (lowered[0] in _DETERMINERS or lowered[0].isdigit()) else ""
    start = 1 if determiner else 0
    names = len([*takewhile(lexicon.is_name, words[start : start + 3])])
    behind = lowered[start + names : start + names + 1]
    if names and not (behind and lexicon.is_noun(behind) and not lexicon.verb(behind[0])):
        name = " ".join(words[: start + names])
        return Subject(name, name, "", plural=False, animate=True, proper=True), start + names
    end = _end(words, start, lexicon, several=several)
    if end == start:
        return None
    core = " ".join(map(lexicon.shown, words[start:end]))
    head = lexicon.head(lowered[start:end])
    noun = lexicon.singular(head)
    plural = lexicon.number(lowered[start:end]) == "plural" and determiner not in {"a", "an", "one"}
    plural = plural or determiner in {"some", "many"} or determiner in _COUNTS or determiner.isdigit()
    named, tail = "", ""
    if lowered[end : end + 1] and lowered[end] in _CALLED and end + 1 < len(words):
        named, tail, end = capitalised(words[end + 1]), f"{lowered[end]} {capitalised(words[end + 1])}", end + 2
    elif end < len(words) and noun in lexicon.animate and words[end][:1].isupper():
        named, tail, end = words[end], words[end], end + 1
    elif end + 1 < len(words) and lowered[end] in _JOINTS and (rest := noun_phrase(words[end + 1 :], lexicon, person)):
        # What belongs to it at the first mention: "a dragon with a cold".
        told = words[end : end + 1 + rest[1]]
        tail, end = " ".join(map(lexicon.shown, told)), end + len(told)
        core = f"{core} {in_person(tail, person)}" if len(told) <= _SHORT else core
    whole = core if tail and core.endswith(tail) else in_person(f"{core} {tail}".strip(), person)
    count = number(int(determiner[:3])) if determiner.isdigit() else determiner
    owner, possessed = words[0][:-2], lowered[0].endswith("\u2019s")
    if possessed and (owner.casefold() in lexicon.kin | lexicon.proper or lexicon.is_name(owner)):
        # Grandma's teapot, Santa's sleigh.
        first, later = capitalised(whole), capitalised(core)
    else:
        first = _first(whole, count, plural=plural, mass=noun in lexicon.masses, definite=noun in lexicon.definite,
                       person=person)  # fmt: skip
        kin = capitalised(core) if count in {*_OWNERS, ""} and noun == core and noun in lexicon.kin else ""
        first = kin if kin and not (count or tail) else first
        later = named or kin or (f"the {count} {core}" if count in _COUNTS else f"the {core}")
    return Subject(
        first, later, noun, plural=plural, animate=noun in lexicon.animate, gender=lexicon.gender(noun),
        proper=bool(named),
    ), end  # fmt: skip


def _first(whole: str, count: str, *, plural: bool, mass: bool, definite: bool, person: Person) -> str:
    if count in _OWNERS:
        return f"{in_person('my', person)} {whole}"
    if count not in {"", "a", "an"}:
        return f"{count} {whole}"
    if plural:
        return f"some {whole}"
    if definite and not count:
        return f"the {whole}"
    return whole if mass else f"{article(whole)} {whole}"


def _end(given: list[str], start: int, lexicon: Lexicon, *, several: bool) -> int:
    """Returns where the noun that begins at `start`, with what stands before it, ends; `start` where there is none."""
    words = [word.casefold() for word in given]
    end = start
    for at in range(start, min(len(words), start + 6)):
        named = given[at][:1].isupper() and not given[at - 1][:1].isupper()
        if end > start and (named or lexicon.begins_clause(words, at, several=several)):
            break
        if lexicon.is_noun(words[start : at + 1]):
            end = at + 1
        elif end > start or not (
            lexicon.is_modifier(words[at])
            or lexicon.is_name(given[at])
            or lexicon.is_noun(words[at : at + 2], listed=True)
        ):
            break
    return end


_LIKES = re.compile(r"^(?:i|she|he|they) (?:really )?(?:likes?|loves?) (?=\w)|^(?:likes|loves) (?=\w)", re.IGNORECASE)
_LEADING = re.compile(r"^(?:a|an|the|to|my) ", re.IGNORECASE)
_INSTRUMENTS = frozenset({"piano", "violin", "guitar"})
_LONGEST = 5


def interest(text: str, lexicon: Lexicon, person: Person) -> Interest | None:
    """Returns the interest as it stands after "to love"; None where it is neither a thing nor a deed."""
    phrase = _LIKES.sub("", clean(text, limit=60))
    if brand := lexicon.brands.get(phrase.casefold()):
        return Interest(brand, lexicon.category(phrase))
    words = phrase.casefold().replace("&", "and").split()
    if not 0 < len(words) <= _LONGEST:
        return None
    phrase = " ".join(words)
    category = lexicon.category(phrase)
    noun = _LEADING.sub("", phrase)
    first, *rest = noun.split()
    if noun in lexicon.animate and noun not in lexicon.definite and not phrase.startswith("my "):
        phrase = inflected(noun, "NNS")
    elif noun in _INSTRUMENTS or (noun in lexicon.definite and noun not in {"snow", "night"}):
        phrase = "the " + noun
    elif first in lexicon.verbs and (phrase.startswith("to ") or rest or first not in lexicon.nounish):
        if phrase.startswith("to ") or not (rest and first in lexicon.nounish):
            phrase = " ".join([progressive(first), *rest])
    elif noun != phrase and not phrase.startswith(("the ", "my ")):
        phrase = f"{article(noun)} {noun}"
    read = noun_phrase(words, lexicon, person)
    if not (category or lexicon.verb(first) or (read is not None and read[1] == len(words))):
        return None
    return Interest(in_person(phrase, person), category or lexicon.category(phrase))


def interests(texts: tuple[str, ...], lexicon: Lexicon, person: Person, *, most: int) -> tuple[Interest, ...]:
    """Returns the first interests that can be told, none twice."""
    return first_few((interest(text, lexicon, person) for text in texts), most)
