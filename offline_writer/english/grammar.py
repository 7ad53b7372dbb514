"""Small English grammar: what the lexicon says of a word, articles, lists, numbers, titles and persons."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from offline_writer.stock import Section, capitalised

_IRREGULAR_PLURALS = {
    "mouse": "mice", "goose": "geese", "wolf": "wolves", "elf": "elves", "dwarf": "dwarfs", "fish": "fish",
    "sheep": "sheep", "deer": "deer", "moose": "moose", "reindeer": "reindeer", "child": "children",
    "policeman": "policemen", "fireman": "firemen", "snowman": "snowmen", "leaf": "leaves", "octopus": "octopuses",
    "calf": "calves", "shelf": "shelves", "loaf": "loaves",
}  # fmt: skip


class Lexicon:
    """Nouns, verbs and adjectives by their grammatical use."""

    def __init__(self, sections: Iterable[Section]) -> None:
        words = {section.key: self._words(section) for section in sections}
        self.definite = frozenset(words.pop("definite"))
        self.animate = frozenset(words.pop("animate"))
        self.female = frozenset(words.pop("female"))
        self.male = frozenset(words.pop("male"))
        self.negative = frozenset(words.pop("negative"))
        self.verbs = frozenset(words.pop("verbs"))
        self.seeing = frozenset(words.pop("seeing"))
        self.brands = frozenset(words.pop("brands"))
        self.kin = frozenset(words.pop("kin"))
        self.nounish = frozenset(words.pop("nounish"))
        self.adjectives = frozenset(words.pop("adjectives"))
        self.things = frozenset(words.pop("things"))
        self.masses = frozenset(words.pop("masses"))
        self.thing_plurals = frozenset(map(self.plural, self.things))
        pairs = (entry.partition("=") for entry in words.pop("traits"))
        self.adjective_of = {noun: adjective for noun, _, adjective in pairs}
        self.categories = {name: frozenset(entries) for name, entries in words.items()}
        self.plurals = {self.plural(noun): noun for noun in self.animate}
        self.base_of = {progressive(verb): verb for verb in self.verbs}
        self.base_of |= {self.present(verb): verb for verb in self.verbs}
        self.known = (
            self.definite | self.animate | self.verbs | set(self.plurals) | set(self.base_of)
            | {word for entries in self.categories.values() for word in entries}
        )  # fmt: skip

    @staticmethod
    def _words(section: Section) -> set[str]:
        return {word.strip() for line in section.lines() for word in line.text.split(",") if word.strip()}

    @staticmethod
    def plural(noun: str) -> str:
        """Dragons, puppies, foxes."""
        if noun in _IRREGULAR_PLURALS:
            return _IRREGULAR_PLURALS[noun]
        if noun.endswith("y") and noun[-2:-1] not in "aeiou":
            return noun[:-1] + "ies"
        return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")

    @staticmethod
    def present(verb: str) -> str:
        """Finds, flies, goes."""
        if verb == "have":
            return "has"
        if verb == "be":
            return "is"
        if verb.endswith("y") and verb[-2:-1] not in "aeiou":
            return verb[:-1] + "ies"
        return verb + ("es" if verb.endswith(("s", "x", "ch", "sh", "o")) else "s")

    def category(self, phrase: str) -> str:
        """Returns the topic of an interest, as a key of the scenes; "" where it is unknown."""
        text = phrase.casefold()
        for tail in (text, text.removeprefix("the "), text.rsplit(" ", 1)[-1]):
            for name, entries in self.categories.items():
                if tail in entries:
                    return name
        return ""


Person = Literal["me", "you", "her", "him", "them"]

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
            "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen")  # fmt: skip
_SMALL_WORDS = frozenset(
    {"a", "an", "the", "and", "but", "or", "nor", "of", "in", "on", "at", "to", "for", "from", "with", "by", "into",
     "as"}
)  # fmt: skip
_VOWEL_SOUND = re.compile(r"(?:hour|honest|heir|honou?r|[aeiou])", re.IGNORECASE)
_CONSONANT_SOUND = re.compile(r"(?:uni(?!n|m)|us[aeu]|uk|ut[ei]|eu|ewe|one\b|once\b|ufo|u-)", re.IGNORECASE)
_LETTERS = re.compile(r"^(?:[AEFHILMNORSX])(?:[A-Z0-9-]|\b)")
_POSSESSIVES = {"me": "my", "you": "your", "her": "her", "him": "his", "them": "their"}
_REFLEXIVES = {"me": "myself", "you": "yourself", "her": "herself", "him": "himself", "them": "themself"}
_ABSOLUTES = {"me": "mine", "you": "yours", "her": "hers", "him": "his", "them": "theirs"}
_FIRST_PERSON = re.compile(r"\b(my|me|mine|myself)\b", re.IGNORECASE)
_THIRD_POSSESSIVE = re.compile(r"\b(?:its|his|her|their)\b(?= \w)")


def article(phrase: str) -> str:
    """Returns "a" or "an", by sound as far as spelling shows it."""
    first = phrase.split(maxsplit=1)[0]
    if first.isupper() and len(first) <= 3 and _LETTERS.match(first):
        return "an"
    return "an" if _VOWEL_SOUND.match(phrase) and not _CONSONANT_SOUND.match(phrase) else "a"


def possessive(name: str) -> str:
    """Mia's, Thomas's."""
    return name + "\u2019s"


def joined(parts: Sequence[str]) -> str:
    """A, B and C."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def number(value: int) -> str:
    """Returns the number in words, as far as stories need them."""
    return _NUMBERS[value] if 0 <= value < len(_NUMBERS) else str(value)


def years(age: int) -> str:
    """Six years old."""
    if age <= 0:
        return "not even one year old"
    return f"{number(age)} year{'' if age == 1 else 's'} old"


def title_case(text: str) -> str:
    """The later part of a title: capitals for its last word and for all others but the small ones ("who" is none)."""
    *words, last = text.split() or [""]
    return " ".join([*(word if word in _SMALL_WORDS else capitalised(word) for word in words), capitalised(last)])


def progressive(verb: str) -> str:
    """Drawing, riding, swimming."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")) and verb != "be":
        return verb[:-1] + "ing"
    if re.search(r"^[^aeiou]*[aeiou][^aeiouwxy]$", verb):
        return verb + verb[-1] + "ing"
    return verb + "ing"


def in_person(phrase: str, person: Person) -> str:
    """Returns a phrase of the child ("find my dog") in the person in which it is used."""

    def shifted(match: re.Match[str]) -> str:
        word = match[1].casefold()
        if word == "my":
            return _POSSESSIVES[person]
        if word == "mine":
            return _ABSOLUTES[person]
        if word == "myself":
            return _REFLEXIVES[person]
        return str(person)

    return _FIRST_PERSON.sub(shifted, phrase)


def as_said_by_its_owner(phrase: str, *, plural: bool) -> str:
    """Returns "find its mother" in its owner's words: "find my mother"."""
    return _THIRD_POSSESSIVE.sub("our" if plural else "my", phrase)
