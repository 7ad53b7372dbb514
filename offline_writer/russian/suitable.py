"""Which wishes and interests are known to be suitable: by lists of words, and of deeds with what they are done to."""

import re
from collections.abc import Iterable
from typing import Final

from offline_writer.russian.grammar import Morphology
from offline_writer.stock import Section, by_key

_FUNCTION: Final = ("NPRO", "PREP", "CONJ", "PRCL", "NUMR", "Name", "Geox")
"""Grammemes of what has no meaning of its own."""
_CLAUSES: Final = re.compile(r"\bкотор\w+", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[^\W\d]\w*(?:-\w+)*")
_GOING: Final = re.compile(r"(?:.*\b(?:хо[чт]\w+|можно|бы) )?(?:в|на|к|ко|по) ", re.IGNORECASE)
_RISKY: Final = frozenset({"один", "ночью"})
"""What only makes a harmless deed risky."""
_WITH: Final = frozenset({"с", "со", "для", "у", "к"})


class Vocabulary:
    """Suitable words of one stock; a word that is not listed is not suitable."""

    def __init__(self, morphology: Morphology, suitable: Iterable[Section], lexicon: Iterable[Section]) -> None:
        self._morphology = morphology
        sections = by_key(suitable)
        lists = {key: _listed(", ".join(line.text for line in one.lines())) for key, one in sections.items()}
        self._family = lists["family"]
        self._limited: dict[str, frozenset[str]] = {}
        for line in sections["limited"].lines():
            deeds, _, things = line.text.partition(":")
            names = _listed(things)
            fitting = names.union(*(lists[name[1:]] for name in names if name.startswith("~")))
            self._limited |= dict.fromkeys(_listed(deeds), fitting - self._family | (names & self._family))
        likes = (_listed(line.text) for section in lexicon for line in section.lines())
        self._words = (lists["words"] | lists["deeds"] | {*self._limited}).union(*likes)

    def suits(self, text: str, *, name: str = "") -> bool:
        """Returns whether each word is listed or is the child's name, and each limited deed goes with its things."""
        deed = "отправиться " if _GOING.match(text) else ""
        clauses = (_TOKEN.findall(clause) for clause in _CLAUSES.split(deed + text))
        return all(self._clause(words, name.casefold().split()) for words in clauses)

    def _clause(self, words: list[str], name: list[str]) -> bool:
        lemmas = [self._morphology.lemmas(word.casefold()) for word in words]
        deeds = [at for at, forms in enumerate(lemmas) if not forms.isdisjoint(self._limited)]
        fitting = frozenset[str]().union(*(self._limited[one] for at in deeds for one in lemmas[at] & {*self._limited}))
        return all(
            self._listed(word, lemmas[at], words[at - 1] if at else "", name)
            and (not deeds or at in deeds or self._fits(at, words, lemmas[at], fitting, first=deeds[0]))
            for at, word in enumerate(words)
        )

    def _listed(self, word: str, forms: set[str], before: str, name: list[str]) -> bool:
        if not forms.isdisjoint(self._words) or word.casefold() in name:
            return True
        likeliest = self._morphology.word(word.casefold())
        if likeliest is None or self._morphology.is_pet_name(word.casefold()):
            # What only a pet can be called: "котёнка Фыра".
            named = self._morphology.word(before.casefold(), "NOUN")
            return word[:1].isupper() and named is not None and "anim" in named
        return any(one in likeliest for one in _FUNCTION)

    def _fits(self, at: int, words: list[str], forms: set[str], fitting: frozenset[str], *, first: int) -> bool:
        """Returns whether a thing fits the deed; one of the family takes part in it, and is not what it is done to."""
        if at > first and not forms.isdisjoint(_RISKY):
            return False
        readings = list(self._morphology.words(words[at].casefold()))
        subject = at < first and any("nomn" in one for one in readings)
        thing = readings and "NOUN" in readings[0] and not any(one in readings[0] for one in _FUNCTION)
        if subject or not thing or not forms.isdisjoint(fitting):
            return True
        beside = not _WITH.isdisjoint(word.casefold() for word in words[max(0, at - 2) : at])
        return not forms.isdisjoint(self._family) and (beside or all("accs" not in one for one in readings))


def _listed(text: str) -> frozenset[str]:
    return frozenset(part.strip().replace("ё", "е") for part in text.split(",") if part.strip())
