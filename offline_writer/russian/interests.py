"""Interests in any form, as they can stand alone: "динозавры", "рисовать"."""

import re
from collections.abc import Iterable
from typing import Final

from offline_writer.brief import clean
from offline_writer.cast import Interest, first_few
from offline_writer.russian.grammar import Morphology, joined
from offline_writer.russian.nouns import NounReader
from offline_writer.stock import Section

_LIKES: Final = re.compile(
    r"^(?:(?:я |он |она |мы )?(?:очень )?(?:люб(?:лю|ит|им)|обожа(?:ю|ет|ем)|нрав(?:ится|ятся)) "
    r"|мо(?:й|я|ё|е|и|ю|его|их) )+",
    re.IGNORECASE,
)


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
        """Returns the interest without what is said of it, in the nominative; None where nothing is left."""
        phrase = self._nouns.lowered(_LIKES.sub("", clean(text, limit=60)))
        if not any(char.isalnum() for char in phrase):
            return None
        verbal = self._morphology.word(phrase.split()[0].casefold(), "INFN") is not None
        nouns = list(self._morphology.words(phrase, "NOUN"))
        if not verbal and nouns and not any("nomn" in noun for noun in nouns):
            phrase = nouns[0].inflected("nomn") or phrase
        return Interest(phrase, self._category(phrase), verbal=verbal)

    def all(self, texts: tuple[str, ...], *, most: int) -> tuple[Interest, ...]:
        """Returns the first interests, none twice."""
        return first_few(map(self.read, texts), most)

    def _category(self, phrase: str) -> str:
        for tail in (phrase.casefold(), *reversed(phrase.casefold().split())):
            readings = [one for one in self._morphology.words(tail) if "NOUN" in one or "INFN" in one]
            forms = {tail, *(one.lemma for one in readings), *(one.inflected("nomn", "plur") for one in readings)}
            for name, entries in self._categories.items():
                if not entries.isdisjoint(forms):
                    return name
        return ""


def named(interests: Iterable[Interest]) -> str:
    """Returns things first, then what one likes to do: "море и драконы, а ещё рисовать"."""
    things, deeds = ([one.phrase for one in interests if one.verbal is verbal] for verbal in (False, True))
    return ", а ещё ".join(joined(some) for some in (things, deeds) if some)
