"""Interests in any form, made into something that can stand after "любить"."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from offline_writer.brief import clean
from offline_writer.cast import Interest, first_few
from offline_writer.russian.grammar import Morphology, joined
from offline_writer.russian.nouns import NounReader
from offline_writer.stock import Section

_LIKES: Final = re.compile(
    r"^(?:я |он |она |мы )?(?:очень )?(?:люб(?:лю|ит|им)|обожа(?:ю|ет|ем)|нрав(?:ится|ятся)) ", re.IGNORECASE
)
_LONGEST: Final = 5


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
        """Returns the interest, None where it cannot be declined."""
        phrase = _LIKES.sub("", clean(text, limit=60))
        words = phrase.split()
        if not 0 < len(words) <= _LONGEST or not self._nouns.knows(phrase):
            return None
        category = self._category(phrase)
        first = words[0].casefold()
        if self._morphology.word(first, "INFN") is not None:
            return Interest(" ".join([first, *words[1:]]), category, verbal=True)
        accusative = self._accusative(phrase, category)
        return Interest(accusative, category) if accusative else None

    def all(self, texts: tuple[str, ...], *, most: int) -> tuple[Interest, ...]:
        """Returns the first interests that can be declined, none twice."""
        return first_few(map(self.read, texts), most)

    def loved(self, texts: tuple[str, ...], *, most: int) -> Mapping[str, str]:
        """Returns the slot {loved} to stand after "любить", or {named}, all as they were given, after a colon."""
        given = tuple(filter(None, (clean(text, limit=60) for text in texts)))[:most]
        found = self.all(given, most=most)
        if all(self.read(text) is not None for text in given):
            return {"loved": loved(found)} if found else {}
        return {"named": joined([text if text.isupper() else text[:1].lower() + text[1:] for text in given])}

    def _accusative(self, phrase: str, category: str) -> str:
        words = phrase.split()
        named = self._morphology.word(words[-1], "Name") or self._morphology.word(words[-1], "Geox")
        lowered = self._nouns.lowered(phrase)
        read = self._nouns.read(lowered, "nom", somebody=None if category == "animals" else False)
        if read is None:
            # "Люблю кошек": the case that it takes here is there already.
            return lowered if self._nouns.read(lowered, "acc", somebody=None) is not None else ""
        if words[0].casefold() in {"мой", "моя", "моё", "мое", "мои"}:
            own = {"f": "свою", "n": "своё", "m": "своего" if read.animate else "свой"}
            return f"{own.get(read.gender, 'своих' if read.animate else 'свои')} {read.forms['acc']}"
        # One loves dragons and cars, not a dragon or a car.
        one = self._morphology.word(lowered, "NOUN", "nomn", "sing") if len(words) == 1 and named is None else None
        plural = one.inflected("nomn", "plur") if one is not None else None
        several = any(plural in entries and lowered not in entries for entries in self._categories.values())
        return (one and plural and (read.animate or several) and one.inflected("accs", "plur")) or read.forms["acc"]

    def _category(self, phrase: str) -> str:
        for tail in (phrase.casefold(), *reversed(phrase.casefold().split())):
            readings = [one for one in self._morphology.words(tail) if "NOUN" in one or "INFN" in one]
            forms = {tail, *(one.lemma for one in readings), *(one.inflected("nomn", "plur") for one in readings)}
            for name, entries in self._categories.items():
                if not entries.isdisjoint(forms):
                    return name
        return ""


def loved(interests: tuple[Interest, ...]) -> str:
    """After "любить": things first, then what one likes to do: "море и драконов, а ещё рисовать"."""
    things = [one.phrase for one in interests if not one.verbal]
    deeds = [one.phrase for one in interests if one.verbal]
    if things and deeds:
        return f"{joined(things)}, а ещё {joined(deeds)}"
    return joined(things or deeds)
