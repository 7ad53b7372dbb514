"""Small English grammar: what the lexicon says of a word, articles, lists, numbers, titles and persons."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

import simplemma
from lemminflect import getAllLemmas, getInflection

from offline_writer.brief import Gender
from offline_writer.stock import Section, by_key, capitalised

_REMEMBERED = 32_768
"""Words whose forms are remembered."""


@lru_cache(_REMEMBERED)
def _readings(word: str) -> Mapping[str, tuple[str, ...]]:
    """Returns the dictionary forms of a word in small letters, by its parts of speech."""
    found: Mapping[str, tuple[str, ...]] = getAllLemmas(word)
    return found


def inflected(word: str, tag: str) -> str:
    """Returns a form by its Penn tag: VBG of "ride" is "riding", NNS of "polar bear" is "polar bears"."""
    *before, last = word.split(" ")
    forms: tuple[str, ...] = ("fish",) if (last, tag) == ("fish", "NNS") else getInflection(last, tag)
    # British: travelling.
    return " ".join([*before, next((form for form in forms if form.endswith(("lling", "lled"))), forms[0])])


class Lexicon:
    """What words are in a sentence: the library knows their parts of speech, the stock how stories use them."""

    def __init__(self, sections: Iterable[Section]) -> None:
        listed = by_key(sections)
        # What a wish begins with, and what its clauses say: regular expressions.
        self.forms, self.clauses = (
            {
                left: re.compile(right, re.IGNORECASE)
                for left, _, right in (line.text.partition(" = ") for line in lines)
            }
            for lines in (listed.pop("forms").lines(), listed.pop("clauses").lines())
        )
        words = {key: self._words(section) for key, section in listed.items()}
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
        self.function, self.mishaps, self.states, self.statives, self.stops, self.loose, self.where = (
            words.pop(name) for name in ("function", "mishaps", "states", "statives", "stops", "loose", "where")
        )
        self.animate |= self.persons
        self.categories = words
        topical = {word for entries in words.values() for word in entries}
        singular = self.animate | self.things | self.kin | self.definite
        self.plurals = {inflected(noun, "NNS"): noun for noun in singular} | {
            word: lemma(word) for word in topical if lemma(word) in singular - {word} and not word.endswith("ing")
        }
        self._nouns = singular | self.masses | set(self.plurals) | topical
        phrases = (
            self._nouns
            | self.adjectives
            | self.negative
            | self.proper
            | self.function
            | self.states
            | set(self.adjective_of)
            | set(self.brands)
        )
        self._known = phrases | {word for phrase in phrases for word in phrase.split()}
        self._names = {word for brand in self.brands.values() for word in brand.split() if word[0].isupper()}

    @staticmethod
    def _words(section: Section) -> set[str]:
        return {
            word.strip().replace("\u2019", "'")
            for line in section.lines()
            for word in line.text.split(",")
            if word.strip()
        }

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
        bases = (word, *_readings(word).get("VERB", ()), lemma(word))
        return next((base for base in bases if base in self.verbs), "")

    def mishap(self, word: str) -> str:
        """Returns the base form of what happens to one, and is not done; "" for another word."""
        return next((base for base in (*_readings(word).get("VERB", ()), word) if base in self.mishaps), "")

    def is_noun(self, words: list[str], *, listed: bool = False) -> bool:
        """Returns whether the words end in a noun of the stock, or with `listed` are one."""
        return any(" ".join(words[at:]) in self._nouns for at in range(1 if listed else len(words)))

    def begins_clause(self, words: list[str], at: int, *, several: bool) -> bool:
        """Returns whether the word behind a noun is a verb: "dances" of "a bear dances", not of "barn dances"."""
        word, following = words[at], words[at + 1 : at + 2]
        base = self.verb(word) or self.mishap(word)
        if not base or word in self.adjectives - self.states or " ".join(words[at - 1 : at + 1]) in self._nouns:
            return False
        if "NOUN" not in _readings(word) and word not in self._nouns:
            return True
        goes_on = bool(following) and (following[0] in self.function or following[0].endswith("\u2019s"))
        if word == base:
            return (several or self.number(words[:at]) == "plural") and (
                goes_on or not following or not self.is_noun(following)
            )
        return word.endswith("ing") or (self.number(words[:at]) == "singular" and (goes_on or words[0] in {"a", "an"}))

    def number(self, words: list[str]) -> str:
        """Returns whether the noun in which the words end is "singular" or "plural"."""
        plural = self.head(words) in self.plurals or "and" in words
        return "plural" if plural and words[0] not in {"a", "an"} else "singular"

    def singular(self, noun: str) -> str:
        """Returns the noun in the singular."""
        return self.plurals.get(noun, noun)

    def is_modifier(self, word: str) -> bool:
        """Returns whether the word can stand before a noun: an adjective, a participle, a possessive."""
        listed = self.is_adjective(word) or word in {"very", "little"}
        participle = word.endswith(("ing", "ed")) and bool(self.verb(word))
        return listed or participle or word.endswith("\u2019s")

    def is_adjective(self, phrase: str) -> bool:
        """Returns whether the phrase can stand after "was"."""
        word = re.sub(r"^(?:very|really|so|super|quite|always|a (?:bit|little)) ", "", phrase)
        return any(form in self.adjectives or form in self.negative for form in (word, lemma(word)))

    def is_name(self, word: str) -> bool:
        """Returns whether it is written as a name and is no other word, or is of a brand."""
        written = word[:1].isupper() and word[1:].islower() and word.isalpha()
        lowered = word.casefold()
        # Tom is more often a name than a cat.
        other = lowered in self._known or bool(self.verb(lowered)) or _readings(lowered).keys() - {"NOUN"}
        return (written and not other and not lowered.endswith("s")) or word in self._names

    def shown(self, word: str) -> str:
        """Returns the word with the capital that it has inside a sentence."""
        lowered = word.casefold()
        return word if self.is_name(word) else capitalised(lowered) if lowered in self.proper else lowered

    def is_finite(self, word: str, before: list[str]) -> bool:
        """Returns whether the word begins a sentence of its own behind these: "her tooth fell"."""
        if not before or word in self.adjectives | self.negative | self._nouns | self.states or word.endswith("ing"):
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
        person = noun in self.persons or noun.endswith(("ist", "ician", "man", "woman"))
        return ("female" if len(noun) % 2 else "male") if person else ""


def is_verb(word: str) -> bool:
    """Returns whether a word in small letters can be a verb."""
    return "VERB" in _readings(word)


def lemma(word: str) -> str:
    """Returns the dictionary form of a word in small letters."""
    return simplemma.lemmatize(word, "en").casefold() if word else ""


def all_lemmas(word: str) -> frozenset[str]:
    """Returns every dictionary form that a word in small letters can have, its owner's for "dragon's"."""
    if word.endswith("n't"):
        return frozenset((word,))
    bare = word.removesuffix("'s")
    return frozenset((bare, lemma(bare), *(form for forms in _readings(bare).values() for form in forms)))


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
    return inflected(verb, "VBG")


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
