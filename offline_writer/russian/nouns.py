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
        kinds: tuple[tuple[str, Gender], ...] = (("characters", "m"), ("heroines", "f"), ("groups", "pl"))
        self._characters = [(listed(line.text), one) for key, one in kinds for line in sections[key].lines()]

    def lowered(self, text: str) -> str:
        """Returns the text without a capital that a form or a phone put there; names of one's own keep theirs."""
        first, _, rest = text.strip().partition(" ")
        names = self._morphology.word(first, "Name") or self._morphology.word(first, "Geox")
        if (
            first.isupper()
            or names is not None
            or not self._morphology.knows(first)
            or self._morphology.is_pet_name(first)
        ):
            return text.strip()
        return f"{first.casefold()} {rest}".rstrip()

    def read(self, text: str, case: Case) -> NounPhrase | None:
        """Returns the phrase "маленького дракона без хвоста" given as an accusative; None where it cannot be read so.

        A word is rather an animate noun than a thing: stories are about mice, not armpits, and мышка is both.
        """
        parts = re.split(r"\s+и\s+", self.lowered(text))
        read = [self._one(part.split(), case) for part in parts]
        known = [one for one in read if one is not None]
        if len(known) < len(parts) or not 1 <= len(known) <= 2:
            return None
        if len(known) == 1:
            return known[0]
        forms = {one: " и ".join(phrase.forms[one] for phrase in known) for one in CASES}
        return NounPhrase(forms, "pl", animate=any(one.animate for one in known))

    def _one(self, words: list[str], case: Case) -> NounPhrase | None:
        if not 0 < len(words) <= _LONGEST:
            return None
        text = " ".join(words).casefold()
        for forms, gender in self._characters:
            if text == forms[case].casefold():
                return NounPhrase(forms, gender, animate=True)
        known = self._known(words, case)
        if known is None or self._morphology.is_pet_name(known.lemma):
            known = self._personified(words, case) or known
        return known or self._proper(words, case)

    def _known(self, words: list[str], case: Case) -> NounPhrase | None:
        first = self._morphology.word(words[0].casefold())
        if first is not None and "PREP" in first:
            return None
        # The last word that can be the noun is: an adjective may be one as well.
        for at in reversed(range(min(len(words), 4))):
            noun = self._noun(words[at], case, [word for word in words[:at] if not _OWN.match(word)])
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

    def _personified(self, words: list[str], case: Case) -> NounPhrase | None:
        """Returns a thing as a person ("про паровозика"), with the accusative of animate nouns."""
        read = self._known(words, "gen" if case == "acc" else case)
        if read is None or read.gender != "m" or read.animate:
            return None
        return NounPhrase({**read.forms, "acc": read.forms["gen"]}, "m", animate=True, lemma=read.lemma)

    def _noun(self, word: str, case: Case, adjectives: list[str]) -> Word | None:
        readings = [
            noun
            for noun in self._morphology.words(word, "NOUN", GRAMMEMES[case])
            if not ("Surn" in noun or "Patr" in noun)
            and all(self._agrees(one, noun, (GRAMMEMES[case],)) for one in adjectives)
        ]
        named = [noun for noun in readings if word.islower() and ("Name" in noun or "Geox" in noun)]
        rather = [noun for noun in readings if noun not in named and "anim" in noun]
        return next(iter(rather or [noun for noun in readings if noun not in named] or readings), None)

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
