"""Reads a wish: a character and its trouble, or what the child wants to do, or else its words."""

import re
from dataclasses import dataclass
from typing import Literal

from offline_writer.brief import clean, closed
from offline_writer.cast import Helping, Note, Quest
from offline_writer.russian.grammar import Case, Morphology
from offline_writer.russian.nouns import NounPhrase, NounReader

TroubleKind = Literal["sleep", "cannot", "afraid", "wants", "lost", "lonely", "trait"]

_SLEEP = re.compile(
    r"не (?:мо\w+|уме\w+|хо\w+|получа\w+)(?: никак)? (?:уснуть|заснуть|спать)|не спит|бессонниц", re.IGNORECASE
)
_CANNOT = re.compile(
    r"(?:не (?:мо(?:жет|гут|г|гла|гло|гли)|уме(?:ет|ют|л|ла|ло|ли)|получа\w+)|разучил(?:ся|ась|ось|ись)) (?P<deed>.+)$",
    re.IGNORECASE,
)
_AFRAID = re.compile(r"\bбо(?:ится|ятся|ялся|ялась|ялось|ялись)\b|\bстрашно\b|\bпуга(?:ет|ют|л)", re.IGNORECASE)
_WANTS = re.compile(
    r"^(?:очень |всегда |давно )?(?:хо(?:чет|тят|тел|тела|тело|тели)|мечта(?:ет|ют|л|ла|ло|ли)"
    r"|уч(?:ится|атся|ился|илась|илось|ились)|реши(?:л|ла|ло|ли)"
    r"|пыта(?:ется|ются|лся|лась|лось|лись)|жела(?:ет|ют|л|ла|ло|ли)) (?P<deed>.+)$",
    re.IGNORECASE,
)
_LOST = re.compile(r"\b(?:потеря|забы|урони|заблуди)\w*|\bищ(?:ет|ут)\b|\bискал", re.IGNORECASE)
_LONELY = re.compile(
    r"одинок|\bодин$|\bодна$|\bнет (?:ни одного )?(?:друга|друзей|никого)|не с кем|некому|\bскуча", re.IGNORECASE
)
_LONGEST_DEED = 7


@dataclass(frozen=True, slots=True)
class Trouble:
    """A relative clause, with its pronoun, as it was said."""

    kind: TroubleKind
    clause: str
    """"который не может уснуть"; "" where the wish says nothing."""
    deed: str = ""
    """The infinitive and what goes with it, for "cannot" and "wants"."""


def trouble(clause: str, morphology: Morphology) -> Trouble:
    """Never fails: what it cannot read is a trait, unchanged."""
    *_, body = re.split(r"котор\w+\s+", clause, maxsplit=1)
    if _SLEEP.search(body):
        return Trouble("sleep", clause)
    if deed := _deed(_CANNOT, body, morphology):
        return Trouble("cannot", clause, deed)
    if deed := _deed(_WANTS, body, morphology):
        return Trouble("wants", clause, deed)
    kinds: tuple[tuple[TroubleKind, re.Pattern[str]], ...] = (("afraid", _AFRAID), ("lost", _LOST), ("lonely", _LONELY))
    return Trouble(next((kind for kind, pattern in kinds if pattern.search(body)), "trait"), clause)


def _deed(pattern: re.Pattern[str], body: str, morphology: Morphology) -> str:
    found = pattern.search(body)
    if found is None:
        return ""
    words = found["deed"].split()
    infinitive = morphology.word(words[0].casefold(), "INFN") is not None
    return found["deed"] if infinitive and len(words) <= _LONGEST_DEED else ""


_LEAD = re.compile(
    r"^(?:(?:пожалуйста|привет)[, ]+)*"
    r"(?:(?:расскажи(?:те)?|хочу(?: послушать| услышать)?|хотим|придумай(?:те)?|напиши(?:те)?|сочини(?:те)?"
    r"|прочитай(?:те)?)"
    r"(?: мне| нам)?(?:,? пожалуйста,?)? )?"
    r"(?:(?:[\w-]+ ){0,2}?(?:истори[яюи]|сказк[ауи]|сказочк[ауи]|рассказ|приключени[ея])(?: на ночь)? )?"
    r"(?P<about>про|о|об|обо) ",
    re.IGNORECASE,
)
_FIRST_PERSON = re.compile(
    r"^(?:пожалуйста,? )?(?:(?:я|мы) )?(?:очень )?(?:хо(?:чу|тим|чется|тел бы|тела бы|телось бы)|мечта(?:ю|ем))"
    r"(?: бы)? ",
    re.IGNORECASE,
)
_WHO = re.compile(
    r",? (?=(?:(?:у|с|к|на|в|о|от|для|без) )?котор(?:ый|ая|ое|ые|ого|ой|ому|ым|ых|ую|ом|ыми?)\b)", re.IGNORECASE
)
_MINE = re.compile(r"\bмо(й|ю|ё|его|ей|его|ему|им|их|ими|я|и|ём)\b", re.IGNORECASE)
_FINITE = re.compile(r"[!?:;]|\. |, |\b(?:чтобы|потому|когда|если|как|где|почему|и я|не)\b", re.IGNORECASE)
_SEEING = frozenset({"найти", "увидеть", "встретить", "отыскать", "повидать", "разыскать"})


Wish = Helping[NounPhrase, Trouble] | Quest[NounPhrase] | Note


class WishReader:
    """Reads wishes with one dictionary."""

    def __init__(self, morphology: Morphology, nouns: NounReader) -> None:
        self._morphology = morphology
        self._nouns = nouns

    def read(self, text: str, *, name: str, room: int = 110) -> Wish:
        """Never fails: what it cannot read becomes a Note; a wish may take up `room` characters."""
        wish = clean(text, limit=240)
        lead = _LEAD.match(wish)
        rest = (wish[lead.end() :] if lead else _FIRST_PERSON.sub("", wish)).strip()
        if rest and len(rest) <= room:
            if lead is None and (quest := self._quest(rest)) is not None:
                return quest
            about = lead["about"].casefold() if lead else ""
            read = self._about(rest, {"": "nom", "про": "acc"}.get(about, "loc"), name)
            if read is not None:
                return read
        return Note(closed(text, limit=room))

    def _quest(self, text: str) -> Quest[NounPhrase] | None:
        first, *rest = text.split()
        verb = first.casefold()
        if self._morphology.word(verb, "INFN") is None or len(rest) > 12 or _FINITE.search(text):
            return None
        shared = _MINE.sub(lambda match: "сво" + match[1], " ".join(rest))
        seen = self._nouns.read(" ".join(rest), "acc") if verb in _SEEING and rest else None
        return Quest(f"{verb} {shared}".strip(), seen)

    def _about(self, text: str, case: str, name: str) -> Helping[NounPhrase, Trouble] | Quest[NounPhrase] | None:
        named, *clause = _WHO.split(text, maxsplit=1)
        cases: tuple[Case, ...] = ("acc",) if case == "acc" else (("loc",) if case == "loc" else ("nom",))
        who = next((read for one in cases if (read := self._nouns.read(self._lowered(named), one)) is not None), None)
        if who is None or who.forms["nom"].casefold() == name.casefold():
            return None
        if clause and (len(clause[0].split()) > 14 or re.search(r"[!?:;]|\. ", clause[0])):
            return None
        if not clause and not who.animate:
            return Quest(f"увидеть {who.forms['acc']}", who)
        return Helping(who, trouble(clause[0], self._morphology) if clause else Trouble("sleep", ""))

    def _lowered(self, text: str) -> str:
        first = text.split(maxsplit=1)[0] if text.split() else ""
        names = self._morphology.word(first, "Name") or self._morphology.word(first, "Geox")
        if first.isupper() or names is not None or not self._morphology.knows(first):
            return text
        return first.casefold() + text[len(first) :]
