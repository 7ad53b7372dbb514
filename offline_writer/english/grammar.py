"""Small English grammar: what the lexicon says of a word, articles, lists, numbers, titles and persons."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import simplemma

from offline_writer.brief import Gender
from offline_writer.stock import Section, capitalised

_IRREGULAR_PLURALS = {
    "mouse": "mice", "goose": "geese", "wolf": "wolves", "elf": "elves", "dwarf": "dwarfs", "fish": "fish",
    "sheep": "sheep", "deer": "deer", "moose": "moose", "reindeer": "reindeer", "child": "children",
    "policeman": "policemen", "fireman": "firemen", "snowman": "snowmen", "leaf": "leaves", "octopus": "octopuses",
    "calf": "calves", "shelf": "shelves", "loaf": "loaves",
}  # fmt: skip


class Lexicon:
    """Nouns, verbs and adjectives by their grammatical use; what is in no list is unknown."""

    def __init__(self, sections: Iterable[Section]) -> None:
        words = {section.key: self._words(section) for section in sections}
        self.brands, self.events, self.idioms, self.adjective_of = (
            {left.strip(): right.strip() for left, _, right in (entry.partition("=") for entry in words.pop(name))}
            for name in ("brands", "events", "idioms", "traits")
        )
        self.definite, self.animate, self.female, self.male, self.negative, self.verbs = (
            words.pop(name) for name in ("definite", "animate", "female", "male", "negative", "verbs")
        )
        self.seeing, self.kin, self.nounish, self.adjectives, self.things, self.masses, self.persons, self.proper = (
            words.pop(name)
            for name in ("seeing", "kin", "nounish", "adjectives", "things", "masses", "persons", "proper")
        )
        self.function = words.pop("function")
        self.animate |= self.persons
        self.categories = words
        listed = {word for entries in words.values() for word in entries}
        singular = self.animate | self.things | self.kin | self.definite
        self.plurals = {self.plural(noun): noun for noun in singular} | {
            plural: noun
            for plural, noun in ((word, lemma(word)) for word in listed)
            if noun in singular - {plural} and not plural.endswith("ing")
        }
        self._nouns = singular | self.masses | set(self.plurals) | listed
        phrases = self._nouns | self.adjectives | self.negative | self.proper | self.function | set(self.adjective_of)
        self._known = phrases | {word for phrase in phrases for word in phrase.split()}
        self.base_of = {form: verb for verb in self.verbs for form in (verb, progressive(verb), self.present(verb))}

    @staticmethod
    def _words(section: Section) -> set[str]:
        return {
            word.strip().replace("\u2019", "'")
            for line in section.lines()
            for word in line.text.split(",")
            if word.strip()
        }

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
        if verb in {"have", "be"}:
            return {"have": "has", "be": "is"}[verb]
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

    def verb(self, word: str) -> str:
        """Returns the base form, "" where it is no verb of the stories."""
        base = self.base_of.get(word) or lemma(word)
        return base if base in self.verbs else ""

    def knows(self, word: str) -> bool:
        """Returns whether a list has the word, in some form."""
        bare = word.replace("\u2019", "'").removesuffix("'s").strip("'")
        forms = {bare, lemma(bare), *(bare.split("-") if "-" in bare else ())}
        return not self._known.isdisjoint(forms) or bool(self.verb(bare)) or bare.isdigit()

    def is_noun(self, words: list[str], *, after_noun: bool = False) -> bool:
        """Returns whether the words end in a noun; after another one, "dances" is none."""
        word = words[-1]
        if (
            after_noun
            and word in self.base_of
            and (word.endswith("ing") or word not in self._nouns - set(self.plurals))
        ):
            return False
        return any(" ".join(words[at:]) in self._nouns for at in range(len(words)))

    def is_modifier(self, word: str) -> bool:
        """Returns whether the word can stand before a noun: an adjective, a participle, a possessive."""
        listed = word in self.adjectives or word in self.negative or word in {"very", "little"}
        participle = word.endswith(("ing", "ed")) and bool(self.verb(word))
        return listed or participle or (word.endswith("\u2019s") and self.knows(word))

    def is_adjective(self, phrase: str) -> bool:
        """Returns whether the phrase can stand after "was"."""
        word = re.sub(r"^(?:very|really|so|super|quite|always|a (?:bit|little)) ", "", phrase)
        return word in self.adjectives or word in self.negative

    def is_name(self, word: str) -> bool:
        """Returns whether it is written as a name and is no other word."""
        return word[:1].isupper() and word[1:].islower() and word.isalpha() and not self.knows(word.casefold())

    def is_finite(self, word: str, before: list[str]) -> bool:
        """Returns whether the word begins a sentence of its own behind these: "her tooth fell"."""
        if not before or word in self.adjectives | self.negative | self._nouns or word.endswith("ing"):
            return False
        base = self.verb(word)
        return bool(base) and base != word and before[-1] not in {"and", "to", "get", "be"}

    def head(self, words: list[str]) -> str:
        """Returns the noun in which the words end, the longest that is listed."""
        ends = (" ".join(words[at:]) for at in range(len(words)))
        return next((end for end in ends if end in self._nouns), words[-1])

    def gender(self, noun: str) -> Gender:
        """Returns the gender; a person of whom it is unknown gets one, as no person is a thing."""
        if noun in self.female or noun in self.male:
            return "female" if noun in self.female else "male"
        return ("female" if len(noun) % 2 else "male") if noun in self.persons else ""


def lemma(word: str) -> str:
    """Returns the dictionary form of a word in small letters."""
    return simplemma.lemmatize(word, "en").casefold() if word else ""


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
