"""Reads a wish: a character and what it is about, or what the child wants to do. What it cannot read it refuses."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from offline_writer.brief import clean
from offline_writer.cast import Helping, Quest
from offline_writer.russian.grammar import Agreement, Case, Morphology
from offline_writer.russian.nouns import NounPhrase, NounReader
from offline_writer.stock import Section, by_key

TroubleKind = Literal["sleep", "cannot", "afraid", "wants", "lost", "lonely", "trait"]
Wish = Helping[NounPhrase, "Trouble"] | Quest[NounPhrase]

_KINDS: Final[tuple[tuple[TroubleKind, re.Pattern[str]], ...]] = (
    ("sleep", re.compile(r"не (?:мо\w+|уме\w+|хо\w+|получа\w+)(?: никак)? (?:уснуть|заснуть|спать)|не спит|бессонниц")),
    ("cannot", re.compile(r"(?:не (?:мо[гж]\w*|уме\w+|получа\w+)|разучи\w+) (?P<deed>.+)$")),
    ("wants", re.compile(r"(?<!не )\b(?:хот\w+|хочет|мечта\w+|уч(?:и|а)\w+|реши\w+|пыта\w+|жела\w+) (?P<deed>.+)$")),
    ("afraid", re.compile(r"\bбо(?:и|я)(?:т|л)\w+|\bстрашно\b|\bпуга\w+|\bиспуга\w+")),
    ("lost", re.compile(r"\b(?:потеря|забы|урони|заблуди)\w*|\bищ[еу]т\b|\bискал")),
    (
        "lonely",
        re.compile(r"одинок|\bодин$|\bодна$|\bнет (?:\w+ ){0,2}друз|\bнет друга|не с кем|некому|\bскуча|\bгруст"),
    ),
)
_WHERE: Final = frozenset({"в", "на", "к", "ко", "по"})
_I: Final = frozenset({"я", "мы"})
_LONGEST_DEED: Final = 9

_LEAD: Final = re.compile(
    r"^(?:(?:пожалуйста|привет|можно|мне|нам|очень|сегодня|давай(?:те)?|(?:я |мы )?(?:очень )?(?:хочу|хотим|хочется)|бы"
    r"|хотел[аи]?|хотелось|послушать|услышать|расскажи(?:те)?|придумай(?:те)?|напиши(?:те)?|сочини(?:те)?|прочитай(?:те)?"
    r"|(?:я |мы )?мечтаю?е?м?|что-нибудь|что-то)[, ]+)*"
    r"(?:(?:[\w-]+[уюаяоей]+ )?(?:истори[яюи]|сказк[ауи]|сказочк[ауи]|рассказ|приключени[яе])(?: на ночь)?,? )?"
    r"(?:(?P<about>про|о|об|обо) )?(?:(?:то|том|тот случай),? )?(?:(?:чтобы )?у меня (?:был[аои]?|появил\w+) )?"
    r"(?P<event>как |чтобы |когда )?",
    re.IGNORECASE,
)
_DROPPED: Final = re.compile(r" и (?:меня|мне|мной|мною)$|\bкак\w+-(?:нибудь|то) ", re.IGNORECASE)
_WHO: Final = re.compile(r",? (?=(?:\w{1,3} )?котор(?:ый|ая|ое|ые|ого|ой|ому|ым|ых|ую|ом|ыми?)\b|где\b)", re.IGNORECASE)
_MINE: Final = re.compile(r"\b(?:мо|наш)(й|ю|ё|его|ей|ему|им|их|ими|я|и|ём|у|а|е)\b", re.IGNORECASE)
_OPEN: Final = re.compile(r"[!?:;]|\. |\b(?:чтобы|потому|почему|если)\b", re.IGNORECASE)
_ONCE: Final = re.compile(r"\b(?:однажды|вдруг|как-то|один раз|тоже|всегда|наконец|сам[аи]?) ", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A relative clause, with its pronoun."""

    kind: TroubleKind
    clause: str
    """"который не может уснуть"; "" where the wish says nothing."""
    deed: str = ""
    """The infinitive and what goes with it, for "cannot" and "wants"."""


class WishReader:
    """Reads wishes with one dictionary."""

    def __init__(self, morphology: Morphology, nouns: NounReader, grammar: Iterable[Section]) -> None:
        sections = by_key(grammar)
        self._morphology = morphology
        self._nouns = nouns
        self._agreement = Agreement(sections.values())
        self._deeds, self._family, self._seeing = (
            frozenset(sections[key].lines()[0].text.split(", ")) for key in ("deeds", "family", "seeing")
        )
        rows = (line.text.partition(": ") for line in sections["seen"].lines())
        self._verbs = {noun: verb for verb, _, nouns_ in rows for noun in nouns_.split(", ")}

    def read(self, text: str, *, name: str, room: int = 110) -> Wish | None:
        """Returns a wish of at most `room` characters, or None."""
        wish = clean(text, limit=240)
        lead = _LEAD.match(wish)
        rest = _DROPPED.sub("", wish[lead.end() :] if lead else wish).strip()
        if not rest or len(rest) > room:
            return None
        about = (lead["about"] or "").casefold() if lead else ""
        read: Wish | None = None if about else self._quest(rest)
        if read is None and not (lead and lead["event"]):
            cases: dict[str, tuple[Case, ...]] = {"": ("nom", "acc", "gen"), "про": ("acc",)}
            read = self._about(rest, cases.get(about, ("loc",)), name)
        return read or self._event(rest, name)

    def _quest(self, text: str) -> Quest[NounPhrase] | None:
        first, *rest = text.split()
        verb = first.casefold()
        if verb in _WHERE:
            return None if _OPEN.search(text) else Quest(f"отправиться {text}", None)
        if self._morphology.word(verb, "INFN") is None or len(rest) >= _LONGEST_DEED or _OPEN.search(text):
            return None
        # What is seen together with somebody is done, not found: "увидеть кита вместе с мамой".
        alone = "вместе" not in rest and not any(
            word.lemma in self._family for one in rest for word in self._morphology.words(one)
        )
        seen = self._nouns.read(" ".join(rest), "acc") if verb in self._seeing and rest and alone else None
        return Quest(f"{verb} {_own(' '.join(rest))}".strip(), seen)

    def _about(self, text: str, cases: tuple[Case, ...], name: str) -> Wish | None:
        named, *clause = _WHO.split(text, maxsplit=1)
        found = ((self._nouns.read(named, case), case) for case in cases)
        who, case = next(((one, case) for one, case in found if one is not None), (None, "nom"))
        if who is None or who.forms["nom"].casefold() == name.casefold() or (clause and _OPEN.search(clause[0])):
            return None
        if not clause and who.lemma in self._family:
            return Quest(f"приготовить сюрприз для {who.forms['gen']}", None)
        if not clause and (not who.animate or case == "acc" != cases[0]):
            verb = "встретить" if who.animate else self._verbs.get(who.lemma, "увидеть")
            shown = who.forms["nom" if verb.endswith("такое") else "acc"]
            return Quest(f"{verb} {shown}", None if who.lemma in self._verbs else who)
        return Helping(who, self._trouble(clause[0]) if clause else Trouble("trait", ""))

    def _event(self, text: str, name: str) -> Wish | None:
        """Reads somebody in the nominative and what they do: the child itself, or a character."""
        words = _ONCE.sub("", text).split()
        verbs = (None if _MINE.fullmatch(word) else self._morphology.word(word.casefold()) for word in words)
        at = next((at for at, verb in enumerate(verbs) if verb is not None and "VERB" in verb), -1)
        verb = self._morphology.word(words[at].casefold(), "VERB") if at >= 0 else None
        if verb is None or _OPEN.search(text) or len(words) - at > _LONGEST_DEED:
            return None
        denied = at > 0 and words[at - 1].casefold() == "не"
        subject, told = words[: at - denied], " ".join(words[at - denied :])
        own = "1per" in verb or not _I.isdisjoint(word.casefold() for word in subject)
        if own or " ".join(subject).casefold() == name.casefold():
            return None if denied else Quest(f"{verb.lemma} {_own(' '.join(words[at + 1 :]))}".strip(), None)
        who = self._nouns.read(" ".join(subject), "nom") if subject else None
        if who is None:
            return None
        return Helping(who, self._trouble(f"{self._agreement.slots(who.gender)['который']} {told}"))

    def _trouble(self, clause: str) -> Trouble:
        *_, body = re.split(r"котор\w+\s+", clause, maxsplit=1)
        for kind, pattern in _KINDS:
            found = pattern.search(body.casefold())
            if found is not None and "deed" not in found.groupdict():
                return Trouble(kind, clause)
            if found is not None and self._morphology.word(found["deed"].split()[0], "INFN") is not None:
                return Trouble(kind, clause, body[found.start("deed") :])
        first, *rest = body.split()
        deeds = (verb.lemma for verb in self._morphology.words(first.casefold(), "VERB") if verb.lemma in self._deeds)
        more = "," in body or any("VERB" in verb for word in rest if (verb := self._morphology.word(word)) is not None)
        deed = "" if more or len(rest) > _LONGEST_DEED else next(deeds, "")
        return Trouble("wants", clause, " ".join([deed, *rest])) if deed else Trouble("trait", clause)


def _own(text: str) -> str:
    mine = _MINE.sub(lambda match: "сво" + {"у": "ю", "а": "я", "е": "ё"}.get(match[1], match[1]), text)
    return re.sub(r"\bс сво", "со сво", mine)
