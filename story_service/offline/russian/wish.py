"""Reads a wish: who it is about and what troubles them, or what the child wants to do; failing both, its words."""

import re

from story_service.offline.casting import Helping, Note, Quest
from story_service.offline.cleaning import clean, closed
from story_service.offline.russian.morphology import Case, Morphology
from story_service.offline.russian.nouns import NounPhrase, NounReader
from story_service.offline.russian.troubles import Trouble, trouble

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
        """Never fails: what it does not understand becomes a Note; a wish may take up `room` characters."""
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
