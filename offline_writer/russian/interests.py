"""Interests in any form, made into something that can stand after "любить"."""

import re
from collections.abc import Iterable, Mapping

from offline_writer.brief import clean
from offline_writer.cast import Interest, first_few
from offline_writer.russian.grammar import Morphology, joined
from offline_writer.russian.nouns import NounReader
from offline_writer.stock import Section

_STRANGE = re.compile(r"[!?.:;,…()@$%&/+]")
_LIKES = re.compile(
    r"^(?:я |он |она |мы )?(?:очень )?(?:люб(?:лю|ит|им)|обожа(?:ю|ет|ем)|нрав(?:ится|ятся)) ", re.IGNORECASE
)
_LONGEST = 5
_LIFELESS = frozenset({"space", "building"})
_MINE = {"мою": "свою", "моего": "своего", "моих": "своих", "мои": "свои", "мой": "свой", "моё": "своё", "мое": "своё"}


class InterestReader:
    """Reads interests with one dictionary and one list of categories."""

    def __init__(self, morphology: Morphology, nouns: NounReader, lexicon: Iterable[Section]) -> None:
        self._morphology = morphology
        self._nouns = nouns
        self._categories = {
            section.key: frozenset(
                word.strip() for line in section.lines() for word in line.text.split(",") if word.strip()
            )
            for section in lexicon
        }

    def read(self, text: str) -> Interest | None:
        """Returns the interest, None where nothing is left after cleaning."""
        phrase = _LIKES.sub("", clean(text, limit=60))
        if not any(char.isalnum() for char in phrase):
            return None
        words = phrase.split()
        category = self._category(phrase)
        if len(words) > _LONGEST or _STRANGE.search(text.strip().rstrip(".,;")):
            return Interest(f"«{phrase}»", category)
        first = words[0].casefold()
        if self._morphology.word(first, "INFN") is not None and self._known(words):
            own = [_MINE.get(word.casefold(), word) for word in words[1:]]
            return Interest(" ".join([first, *own]), category, verbal=True)
        return Interest(self._accusative(phrase, category) or f"«{phrase}»", category)

    def all(self, texts: tuple[str, ...], *, most: int) -> tuple[Interest, ...]:
        """Returns the first interests that are not empty, none twice."""
        return first_few(map(self.read, texts), most)

    def _known(self, words: list[str]) -> bool:
        return all(self._morphology.knows(word) for word in words)

    def _accusative(self, phrase: str, category: str) -> str | None:
        words = phrase.split()
        if not self._known(words):
            return None
        mine = words[0].casefold() in {"мой", "моя", "моё", "мое", "мои"}
        # A capital that a form or a phone put there; names of one's own keep theirs.
        named = self._morphology.word(words[-1], "Name") or self._morphology.word(words[-1], "Geox")
        lowered = phrase if named is not None or phrase.isupper() else words[0].casefold() + phrase[len(words[0]) :]
        read = self._nouns.read(lowered, "nom", somebody=False if category in _LIFELESS else None)
        if read is None:
            # "Люблю кошек": the case that it takes here is there already.
            return lowered if self._nouns.read(lowered, "acc") is not None else None
        if mine:
            own: Mapping[str, str] = {"f": "свою", "n": "своё", "m": "своего" if read.animate else "свой"}
            return f"{own.get(read.gender, 'своих' if read.animate else 'свои')} {read.forms['acc']}"
        if not read.plural and len(words) == 1 and named is None:
            return self._several(words[0].casefold(), read.animate) or read.forms["acc"]
        return read.forms["acc"]

    def _several(self, noun: str, animate: bool) -> str | None:
        """One loves dragons and cars, not a dragon or a car."""
        reading = self._morphology.word(noun, "NOUN", "nomn", "sing")
        plural = reading.inflected("nomn", "plur") if reading is not None else None
        listed = any(plural in entries and noun not in entries for entries in self._categories.values())
        return reading.inflected("accs", "plur") if reading is not None and plural and (animate or listed) else None

    def _category(self, phrase: str) -> str:
        words = phrase.casefold().split()
        tails = [phrase.casefold(), *reversed(words)]
        for tail in tails:
            for name, entries in self._categories.items():
                if tail in entries or not entries.isdisjoint(self._other_forms(tail)):
                    return name
        return ""

    def _other_forms(self, word: str) -> set[str]:
        readings = [reading for reading in self._morphology.words(word) if "NOUN" in reading or "INFN" in reading]
        plurals = {reading.inflected("nomn", "plur") for reading in readings if "NOUN" in reading}
        return {reading.lemma for reading in readings} | {plural for plural in plurals if plural is not None}


def loved(interests: tuple[Interest, ...]) -> str:
    """After "любить": things first, then what one likes to do: "море и драконов, а ещё рисовать"."""
    things = [one.phrase for one in interests if not one.verbal]
    deeds = [one.phrase for one in interests if one.verbal]
    if things and deeds:
        return f"{joined(things)}, а ещё {joined(deeds)}"
    return joined(things or deeds)
