"""Noun phrases in free text, read in one case and put into all."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from offline_writer.russian.grammar import CASES, GRAMMEMES, Case, Forms, Gender, Morphology, Word, like, listed
from offline_writer.stock import Section, by_key, capitalised

_LONGEST = 8
_NEVER_DECLINED = re.compile(r"[оеиэё]$|[a-z]$|-", re.IGNORECASE)
_OWN = re.compile(r"^(?:как\w+-(?:нибудь|то)|мо(?:й|я|ё|и|его|ей|ему|ю|их|им|ими|ём|ем)|наш\w*)$", re.IGNORECASE)
_OTHER_GENDERS: Mapping[Gender, tuple[str, ...]] = {
    "m": ("masc", "sing"), "f": ("femn", "sing"), "n": ("neut", "sing"), "pl": ("plur",),
}  # fmt: skip
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


class NounReader:
    """Reads noun phrases with one dictionary."""

    def __init__(self, morphology: Morphology, grammar: Iterable[Section]) -> None:
        """The grammar lists names that have cases only as a whole, like Дед Мороз."""
        sections = by_key(grammar)
        self._morphology = morphology
        kinds: tuple[tuple[str, Gender], ...] = (("characters", "m"), ("heroines", "f"))
        self._characters = [(listed(line.text), one) for key, one in kinds for line in sections[key].lines()]

    def knows(self, text: str) -> bool:
        """Returns whether every word is one of the dictionary, a name, or the diminutive of one."""
        words = re.findall(r"[^\W\d_]+", text)
        return bool(words) and all(
            self._morphology.knows(word.casefold().removeprefix("супер"))
            or word[:1].isupper()
            or any(one.match(word) for one in _DIMINUTIVES.values())
            for word in words
        )

    def lowered(self, text: str) -> str:
        """Returns the text without a capital that a form or a phone put there; names of one's own keep theirs."""
        first, _, rest = text.strip().partition(" ")
        names = self._morphology.word(first, "Name") or self._morphology.word(first, "Geox")
        if first.isupper() or names is not None or not self._morphology.knows(first):
            return text.strip()
        return f"{first.casefold()} {rest}".rstrip()

    def read(self, text: str, case: Case, *, somebody: bool | None = True) -> NounPhrase | None:
        """Returns the phrase "маленького дракона без хвоста" given as an accusative; None where it cannot be read so.

        With `somebody` True a word is rather an animate noun than a thing (stories are about mice, not armpits: мышка
        is both), with False the other way round, with None the commonest.
        """
        parts = re.split(r"\s+и\s+", self.lowered(text))
        read = [self._one(part.split(), case, somebody=somebody) for part in parts]
        known = [one for one in read if one is not None]
        if len(known) < len(parts) or not 1 <= len(known) <= 2:
            return None
        if len(known) == 1:
            return known[0]
        forms = {one: " и ".join(phrase.forms[one] for phrase in known) for one in CASES}
        return NounPhrase(forms, "pl", animate=any(one.animate for one in known))

    def _one(self, words: list[str], case: Case, *, somebody: bool | None) -> NounPhrase | None:
        if not 0 < len(words) <= _LONGEST:
            return None
        text = " ".join(words).casefold()
        for forms, gender in self._characters:
            if text == forms[case].casefold():
                return NounPhrase(forms, gender, animate=True)
        return (
            self._counted(words, case)
            or self._known(words, case, somebody=somebody)
            or self._diminutive(words, case)
            or (self._personified(words, case) if somebody else None)
            or self._proper(words, case)
        )

    def _known(self, words: list[str], case: Case, *, somebody: bool | None) -> NounPhrase | None:
        first = self._morphology.word(words[0].casefold())
        if first is not None and "PREP" in first:
            return None
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
        named = rest[0][:1].isupper()
        name = self._morphology.word(rest[0], "Name" if named else "NOUN", GRAMMEMES[case], "sing")
        if named and name is None:
            # Of a name that the dictionary does not have the noun tells the gender.
            shown = "gent" if case == "acc" and phrase.gender == "m" else GRAMMEMES[case]
            name = self._morphology.guess(rest[0], "NOUN", shown, *_OTHER_GENDERS[phrase.gender])
        elif not named and not (case == "acc" and phrase.gender == "f"):
            name = None
        forms = name.forms("sing") if name is not None else None
        if named and forms is None and not _NEVER_DECLINED.search(rest[0]):
            return None
        if forms is not None and phrase.gender == "m":
            forms = {**forms, "acc": forms["gen"]}
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
                        stem = like(word, found[1])
                        forms = {one: text.replace(model, stem, 1) for one, text in read.forms.items()}
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
        if word.islower():
            readings.sort(key=lambda noun: "Name" in noun or "Geox" in noun)
        rather = [noun for noun in readings if ("anim" in noun) is somebody and not (word.islower() and "Name" in noun)]
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
            named = "Name" in noun or "Geox" in noun
            head = words[at] if typed else like(words[at], forms[case])
            head = capitalised(head) if named else head
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

    def _counted(self, words: list[str], case: Case) -> NounPhrase | None:
        """Two kittens: the nominative takes the genitive singular, the other cases the plural."""
        numeral = self._morphology.word(words[0].casefold(), "NUMR", GRAMMEMES[case])
        *adjectives, last = words[1:] or [""]
        shown = "gent" if case in {"nom", "acc"} else GRAMMEMES[case]
        noun = self._morphology.word(last, "NOUN", shown)
        one, many = (noun.forms("sing"), noun.forms("plur")) if noun is not None else (None, None)
        if numeral is None or noun is None or one is None or many is None:
            return None
        told: dict[Case, str] = {}
        for target in CASES:
            direct = target == "nom" or (target == "acc" and "anim" not in noun)
            form = numeral.inflected("nomn" if direct else GRAMMEMES[target], *(["femn"] if "femn" in noun else []))
            shown = "gent" if target in {"nom", "acc"} else GRAMMEMES[target]
            found = (self._morphology.word(word, "ADJF") for word in adjectives)
            inner = [(one and one.inflected(shown, "plur")) or "" for one in found]
            head = one["gen"] if direct else many["gen" if target == "acc" else target]
            told[target] = " ".join([form or numeral.inflected("gent") or "", *inner, head])
        return NounPhrase(told, "pl", "anim" in noun, noun.lemma)

    def _may_follow(self, word: str) -> bool:
        """Modifiers stay as they are, but a verb among them means that this was no noun phrase."""
        reading = self._morphology.word(word.strip(","))
        return reading is None or not any(one in reading for one in ("VERB", "INFN", "NPRO", "CONJ", "PRED"))

    def _proper(self, words: list[str], case: Case) -> NounPhrase | None:
        """A name that the dictionary does not have keeps its form in all cases, unless that may be another one."""
        if len(words) != 1 or not words[0][:1].isupper() or self._morphology.knows(words[0]):
            return None
        if case == "nom" or _NEVER_DECLINED.search(words[0]):
            return NounPhrase(dict.fromkeys(CASES, words[0]), "m", animate=True)
        return None
