"""Noun phrases in free text, read in one case and put into all."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from offline_writer.russian.grammar import CASES, GRAMMEMES, Case, Forms, Gender, Morphology, Word, like, listed

_LONGEST = 8
_NEVER_DECLINED = re.compile(r"[оеиэё]$|[a-z]$", re.IGNORECASE)
_OWN = re.compile(r"^(?:мо(?:й|я|ё|и|его|ей|ему|ю|их|им|ими|ём|ем)|наш\w*)$", re.IGNORECASE)
_OTHER_GENDERS: Mapping[Gender, tuple[str, ...]] = {
    "m": ("masc", "sing"), "f": ("femn", "sing"), "n": ("neut", "sing"), "pl": ("plur",),
}  # fmt: skip
_COUNTS: Mapping[str, Forms] = {
    "два": listed("два, двух, двум, двух, двумя, двух"),
    "две": listed("две, двух, двум, двух, двумя, двух"),
    "три": listed("три, трёх, трём, трёх, тремя, трёх"),
    "четыре": listed("четыре, четырёх, четырём, четырёх, четырьмя, четырёх"),
}
_COUNT_OF = {"двух": "два", "трёх": "три", "трех": "три", "четырёх": "четыре", "четырех": "четыре"} | {
    key: key for key in _COUNTS
}
_DIMINUTIVES: Mapping[str, re.Pattern[str]] = {
    "слон": re.compile(r"(\w{2,})(ик\w{0,3}|[её]н(?:ок|к\w{1,2})|ят\w{0,3})$"),
    "мыш": re.compile(r"(\w+[шчщж])(он(?:ок|к\w{1,2})|ат\w{0,3})$"),
}
"""A word of the dictionary by its stem, and the words that are declined alike: their stem and the rest of them."""


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """A person or thing, with all its words."""

    forms: Forms
    gender: Gender
    animate: bool
    lemma: str = ""
    """Dictionary form of the noun, "" for a name."""

    @property
    def plural(self) -> bool:
        """Whether it takes the plural."""
        return self.gender == "pl"


class NounReader:
    """Reads noun phrases with one dictionary."""

    def __init__(self, morphology: Morphology, characters: Iterable[Forms] = ()) -> None:
        """`characters` are known names that have cases only as a whole, like Дед Мороз; all are masculine."""
        self._morphology = morphology
        self._characters = tuple(characters)

    def read(self, text: str, case: Case, *, somebody: bool | None = True) -> NounPhrase | None:
        """Returns the phrase "маленького дракона без хвоста" given as an accusative; None where it cannot be read so.

        With `somebody` True a word is rather an animate noun than a thing (stories are about mice, not armpits: мышка
        is both), with False the other way round, with None the commonest.
        """
        parts = re.split(r"\s+и\s+", text.strip())
        read = [self._one(part.split(), case, somebody=somebody) for part in parts]
        known = [one for one in read if one is not None]
        if len(known) < len(parts) or not 1 <= len(known) <= 2:
            return None
        if len(known) == 1:
            return known[0]
        forms = {one: " и ".join(phrase.forms[one] for phrase in known) for one in CASES}
        return NounPhrase(forms, "pl", animate=all(one.animate for one in known))

    def _one(self, words: list[str], case: Case, *, somebody: bool | None) -> NounPhrase | None:
        if not 0 < len(words) <= _LONGEST:
            return None
        text = " ".join(words).casefold()
        for forms in self._characters:
            if text == forms[case].casefold():
                return NounPhrase(forms, "m", animate=True)
        count = _COUNT_OF.get(words[0].casefold())
        if count is not None:
            return self._counted(count, words[1:], case)
        return (
            self._known(words, case, somebody=somebody)
            or self._diminutive(words, case)
            or (self._personified(words, case) if somebody else None)
            or self._proper(words, case)
        )

    def _known(self, words: list[str], case: Case, *, somebody: bool | None) -> NounPhrase | None:
        # The last word that can be the noun is: an adjective may be one as well.
        for at in reversed(range(min(len(words), 4))):
            noun = self._noun(words[at], case, [word for word in words[:at] if not _OWN.match(word)], somebody=somebody)
            if noun is not None and all(self._may_follow(word) for word in words[at + 1 :]):
                phrase = self._phrase(words[: at + 1], at, noun, case)
                return None if phrase is None else self._followed(phrase, words[at + 1 :], case)
        return None

    def _followed(self, phrase: NounPhrase, rest: list[str], case: Case) -> NounPhrase | None:
        """With what comes after the noun: a name in the same case is declined along, all else stays as it is."""
        if not rest:
            return phrase
        named = rest[0][:1].isupper() and self._morphology.knows(rest[0])
        name = self._morphology.word(rest[0], "Name", GRAMMEMES[case], "sing") if named else None
        forms = name.forms("sing") if name is not None else None
        if named and forms is None:
            return None
        told: dict[Case, str] = {}
        for one in CASES:
            first = like(rest[0], forms[one]) if forms is not None else rest[0]
            told[one] = " ".join([phrase.forms[one], first, *rest[1:]])
        return NounPhrase(told, phrase.gender, phrase.animate, phrase.lemma)

    def _diminutive(self, words: list[str], case: Case) -> NounPhrase | None:
        """Дракончик, зебрёнок: few of them are in the dictionary, and all are declined as its слоник and мышонок."""
        for at, word in enumerate(words[:4]):
            if self._morphology.knows(word) or word.isupper():
                continue
            for model, pattern in _DIMINUTIVES.items():
                if found := pattern.match(word.casefold()):
                    read = self._known([*words[:at], model + found[2], *words[at + 1 :]], case, somebody=True)
                    if read is not None:
                        forms = {one: text.replace(model, found[1], 1) for one, text in read.forms.items()}
                        return NounPhrase(forms, read.gender, animate=True)
        return None

    def _personified(self, words: list[str], case: Case) -> NounPhrase | None:
        """Returns a thing as a person ("про паровозика"), with the accusative of animate nouns."""
        read = self._known(words, "gen", somebody=None) if case == "acc" else None
        if read is None or read.gender != "m" or read.animate:
            return None
        return NounPhrase({**read.forms, "acc": read.forms["gen"]}, "m", animate=True, lemma=read.lemma)

    def _noun(self, word: str, case: Case, adjectives: list[str], *, somebody: bool | None) -> Word | None:
        readings = [
            noun
            for noun in self._morphology.words(word, "NOUN", GRAMMEMES[case])
            if not ("Surn" in noun or "Patr" in noun)
            and all(self._agrees(one, noun, (GRAMMEMES[case],)) for one in adjectives)
        ]
        rather = [noun for noun in readings if ("anim" in noun) is somebody]
        return next(iter(rather or readings), None)

    def _agrees(self, adjective: str, noun: Word, grammemes: tuple[str, ...]) -> bool:
        wanted = (*grammemes, *_OTHER_GENDERS[noun.gender])
        return any("ADJF" in one or "PRTF" in one for one in self._morphology.words(adjective, *wanted))

    def _phrase(self, words: list[str], at: int, noun: Word, given: Case) -> NounPhrase | None:
        number = "plur" if noun.gender == "pl" else "sing"
        forms = noun.forms(number)
        if forms is None:
            return None
        before = [word for word in words[:at] if not _OWN.match(word)]
        told: dict[Case, str] = {}
        for case in CASES:
            inner = [self._agreeing(word, case, noun) for word in before]
            # Цветы are цветки to the dictionary: what was typed stays where it can.
            direct = case in {"nom", "acc"} and given in {"nom", "acc"} and "anim" not in noun and noun.gender != "f"
            typed = direct or forms[case] == words[at].casefold()
            head = words[at] if typed else like(words[at], forms[case])
            told[case] = " ".join([*inner, head, *words[at + 1 :]])
        return NounPhrase(told, noun.gender, "anim" in noun, noun.lemma)

    def _agreeing(self, adjective: str, case: Case, noun: Word) -> str:
        wanted = [GRAMMEMES[case], *_OTHER_GENDERS[noun.gender]]
        if case == "acc" and noun.gender in {"m", "pl"}:
            wanted.append("anim" if "anim" in noun else "inan")
        for reading in self._morphology.words(adjective):
            if ("ADJF" in reading or "PRTF" in reading) and (form := reading.inflected(*wanted)) is not None:
                return like(adjective, form)
        return adjective

    def _counted(self, count: str, words: list[str], case: Case) -> NounPhrase | None:
        """Two kittens: the nominative takes the genitive singular, the other cases the plural."""
        if not words or len(words) > 2 or case not in {"nom", "acc", "gen", "loc"}:
            return None
        *adjectives, last = words
        readings = [*self._morphology.words(last, "NOUN", "gent"), *self._morphology.words(last, "NOUN", "loct")]
        for noun in readings:
            one, many = noun.forms("sing"), noun.forms("plur")
            if one is None or many is None:
                continue
            feminine = "femn" in noun
            numeral = _COUNTS["две" if count in {"два", "две"} and feminine else count]
            told: dict[Case, str] = {}
            for target in CASES:
                shown = "gen" if target in {"nom", "acc"} else target
                inner = [self._plural_adjective(word, shown) for word in adjectives]
                direct = target == "nom" or (target == "acc" and "anim" not in noun)
                head = one["gen"] if direct else many["gen" if target == "acc" else target]
                told[target] = " ".join([numeral["nom"] if direct else numeral[target], *inner, head])
            return NounPhrase(told, "pl", "anim" in noun, noun.lemma)
        return None

    def _plural_adjective(self, word: str, case: Case) -> str:
        for reading in self._morphology.words(word):
            if "ADJF" in reading and (form := reading.inflected(GRAMMEMES[case], "plur")) is not None:
                return form
        return word

    def _may_follow(self, word: str) -> bool:
        """Modifiers stay as they are, but a verb among them means that this was no noun phrase."""
        reading = self._morphology.word(word.strip(","))
        return reading is None or not any(one in reading for one in ("VERB", "INFN", "NPRO", "CONJ"))

    def _proper(self, words: list[str], case: Case) -> NounPhrase | None:
        """A name that the dictionary does not have keeps its form in all cases, unless that may be another one."""
        if len(words) != 1 or not words[0][:1].isupper() or self._morphology.knows(words[0]):
            return None
        if case == "nom" or _NEVER_DECLINED.search(words[0]):
            return NounPhrase(dict.fromkeys(CASES, words[0]), "m", animate=True)
        return None
