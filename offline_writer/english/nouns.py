"""Noun phrases: the character of a wish with its forms and pronouns, and interests after "to love"."""

import re
from dataclasses import dataclass

from offline_writer.brief import Gender, clean
from offline_writer.cast import Interest, first_few
from offline_writer.english.grammar import Lexicon, Person, article, in_person, number, progressive
from offline_writer.stock import capitalised

_COUNTS = tuple(number(value) for value in range(2, 19))
_DETERMINERS = frozenset({"a", "an", "the", "my", "our", "his", "her", "its", "their", "some", "many", "one", *_COUNTS})
_JOINTS = frozenset(
    {"with", "from", "in", "of", "on", "at", "under", "without", "near", "inside", "behind", "called", "named"}
)
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


def noun_phrase(words: list[str], lexicon: Lexicon, person: Person) -> tuple[Subject, int] | None:
    """Reads "a dragon", "two brave kittens", "my dog Rex", "a fox and a hen" at the start of the words.

    Returns it and the number of its words, or None.
    """
    first = _single(words, lexicon, person)
    if first is None or first[1] + 1 >= len(words) or words[first[1]].casefold() != "and":
        return first
    second = _single(words[first[1] + 1 :], lexicon, person)
    if second is None:
        return first
    both = (first[0], second[0])
    named = (" and ".join(one.first for one in both), " and ".join(one.later for one in both))
    return Subject(*named, "", plural=True, animate=any(one.animate for one in both)), first[1] + 1 + second[1]


def _single(words: list[str], lexicon: Lexicon, person: Person) -> tuple[Subject, int] | None:
    lowered = [word.casefold() for word in words]
    start = 1 if lowered and (lowered[0] in _DETERMINERS or lowered[0].isdigit()) else 0
    end = _end(lowered, start, lexicon)
    if end == start:
        return _name(words, lexicon) if start == 0 else None
    determiner = lowered[0] if start else ""
    core = " ".join(lowered[start:end])
    head = lexicon.head(lowered[start:end])
    plural = head in lexicon.plurals
    noun = lexicon.plurals.get(head, head)
    named = ""
    if end < len(words) and noun in lexicon.animate and lexicon.is_name(words[end]):
        named, end = words[end], end + 1
    # What belongs to it at the first mention: "a dragon with a cold".
    tail = ""
    if end + 1 < len(words) and lowered[end] in _JOINTS and not named:
        rest = _single(words[end + 1 :], lexicon, person)
        if rest is not None:
            tail, end = " ".join([lowered[end], *words[end + 1 : end + 1 + rest[1]]]), end + 1 + rest[1]
    plural = plural or determiner in {"some", "many"} or determiner in _COUNTS or determiner.isdigit()
    whole = in_person(" ".join(filter(None, (core, named, tail))), person)
    count = number(int(determiner[:3])) if determiner.isdigit() else determiner
    owned = count in {"my", "our", "his", "her", "its", "their"}
    if owned:
        first = f"{in_person('my', person)} {whole}"
    elif not count and noun in lexicon.masses:
        first = whole
    elif count in {"", "a", "an"}:
        definite = not determiner and noun in lexicon.definite and not plural
        first = f"the {whole}" if definite else f"some {whole}" if plural else f"{article(whole)} {whole}"
    else:
        first = f"{count} {whole}"
    kin = capitalised(core) if owned and noun == core and noun in lexicon.kin else ""
    later = named or kin or (f"the {count} {core}" if count in _COUNTS else f"the {core}")
    gender = lexicon.gender(noun)
    return Subject(
        first, later, noun, plural=plural, animate=noun in lexicon.animate, gender=gender, proper=bool(named)
    ), end


def _end(words: list[str], start: int, lexicon: Lexicon) -> int:
    """Returns where the noun that begins at `start`, with what stands before it, ends; `start` where there is none."""
    end = start
    for at in range(start, min(len(words), start + 6)):
        if lexicon.is_noun(words[start : at + 1], after_noun=end > start):
            end = at + 1
        elif end > start or not lexicon.is_modifier(words[at]):
            break
    return end


def _name(words: list[str], lexicon: Lexicon) -> tuple[Subject, int] | None:
    end = next((at for at, word in enumerate(words[:3]) if not lexicon.is_name(word)), min(3, len(words)))
    if not end:
        return None
    name = " ".join(words[:end])
    return Subject(name, name, "", plural=False, animate=True, proper=True), end


_LIKES = re.compile(r"^(?:i|she|he|they) (?:really )?(?:likes?|loves?) (?=\w)|^(?:likes|loves) (?=\w)", re.IGNORECASE)
_LEADING = re.compile(r"^(?:a|an|the|to|my) ", re.IGNORECASE)
_INSTRUMENTS = frozenset({"piano", "violin", "guitar"})
_LONGEST = 5


def interest(text: str, lexicon: Lexicon, person: Person) -> Interest | None:
    """Returns the interest as it stands after "to love"; None where a word of it is unknown."""
    phrase = _LIKES.sub("", clean(text, limit=60))
    if brand := lexicon.brands.get(phrase.casefold()):
        return Interest(brand, lexicon.category(phrase))
    words = phrase.casefold().replace("&", "and").split()
    if not 0 < len(words) <= _LONGEST or not all(lexicon.knows(word.strip(",")) for word in words):
        return None
    phrase = " ".join(words)
    category = lexicon.category(phrase)
    noun = _LEADING.sub("", phrase)
    first, *rest = noun.split()
    if noun in lexicon.animate and noun not in lexicon.definite and not phrase.startswith("my "):
        phrase = lexicon.plural(noun)
    elif noun in _INSTRUMENTS or (noun in lexicon.definite and noun not in {"snow", "night"}):
        phrase = "the " + noun
    elif first in lexicon.verbs and (phrase.startswith("to ") or rest or first not in lexicon.nounish):
        if phrase.startswith("to ") or not (rest and first in lexicon.nounish):
            phrase = " ".join([progressive(first), *rest])
    elif noun != phrase and not phrase.startswith(("the ", "my ")):
        phrase = f"{article(noun)} {noun}"
    return Interest(in_person(phrase, person), category or lexicon.category(phrase))


def interests(texts: tuple[str, ...], lexicon: Lexicon, person: Person, *, most: int) -> tuple[Interest, ...]:
    """Returns the first interests that can be told, none twice."""
    return first_few((interest(text, lexicon, person) for text in texts), most)
