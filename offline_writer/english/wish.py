"""Reads a wish: a character and its trouble, or what the child wants to do, or else its words."""

import re
from dataclasses import dataclass
from typing import Literal

from offline_writer.brief import clean, closed
from offline_writer.cast import Helping, Note, Quest
from offline_writer.english.grammar import Lexicon, Person
from offline_writer.english.nouns import Subject, subject

TroubleKind = Literal["sleep", "cannot", "afraid", "wants", "lost", "lonely", "adj", "trait"]

_CANNOT = (
    r"(?:can ?not|can\u2019t|could ?not|couldn\u2019t|is (?:not able|unable) to|was (?:not able|unable) to|never can)"
)
_BE = r"(?:(?:is|was|are|were) )?"
# The verb with which a clause can begin when no "who" does: "a fox afraid of the dark".
_BARE = re.compile(
    rf"^(?P<noun>.+?) (?P<clause>(?:{_CANNOT}|(?:is|was|are|were) (?:afraid|scared|frightened|lost|looking)|wants?"
    r"|wanted|learns?|learning|trying|has lost|lost|looking for|searching for|afraid|scared) .+)$",
    re.IGNORECASE,
)
_CANT = re.compile(rf"^{_CANNOT} (.+)$", re.IGNORECASE)
_AFRAID = re.compile(rf"^{_BE}(?:so |very )?(?:afraid|scared|frightened|terrified) of (.+)$", re.IGNORECASE)
_WANTS = re.compile(
    rf"^{_BE}(?:wants?|wanted|would like|longs|longed|wishes|wished|tries|tried|trying|hopes|hoped|learns|learned"
    r"|learnt|learning|dreams|dreamed|wanting|hoping) (?:how )?to (.+)$",
    re.IGNORECASE,
)
_DREAMS = re.compile(rf"^{_BE}(?:dreams|dreamed|dreamt|dreaming) of ((\w+ing).*)$", re.IGNORECASE)
_SEEKS = re.compile(rf"^{_BE}(?:looking|searching|looks|searches|looked|searched) for (.+)$", re.IGNORECASE)
_LOST = re.compile(
    r"^(?:has |have |had )?(?:lost|loses|lose|misses|missed|forgot|forgets|forgotten) (.+)$", re.IGNORECASE
)
_LACKS = re.compile(
    r"^(?:(?:has|have|had) (?=no\b|nobody|not)|(?:does not|doesn\u2019t|do not|don\u2019t|did not) have any )(.*)$",
    re.IGNORECASE,
)
_COMPANY = re.compile(r"friend|nobody|no one|family|play with|talk to", re.IGNORECASE)
_IS = re.compile(r"^(?:is|was|are|were|feels|felt) (.+)$", re.IGNORECASE)
_SLEEP = re.compile(r"^(?:fall asleep|(?:get to |go to )?sleep)\b", re.IGNORECASE)
_OWNED = re.compile(r"^(?:a|an|the|its|his|her|their|all)\b", re.IGNORECASE)
_LONELY = frozenset({"lonely", "alone", "all alone", "very lonely", "so lonely"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """A relative clause in the tenses that the stories need, without its "who"."""

    kind: TroubleKind
    past: str
    """"could not sleep"."""
    now: str
    """"cannot sleep"."""
    detail: str = ""
    """The verb phrase, noun phrase or adjective in it."""


def split_bare(text: str) -> tuple[str, str] | None:
    """Splits "a fox afraid of the dark" into noun phrase and clause; returns None where it cannot."""
    found = _BARE.match(text)
    return (found["noun"], found["clause"]) if found is not None else None


class TroubleReader:
    """Sorts relative clauses."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def read(self, clause: str, who: Subject) -> Trouble:
        """Never fails: what it cannot read is a trait, unchanged."""
        for reader in (self._inability, self._fear, self._longing, self._loss, self._state):
            trouble = reader(clause, who)
            if trouble is not None:
                return trouble
        return Trouble("trait", clause, clause)

    @staticmethod
    def _inability(clause: str, _: Subject) -> Trouble | None:
        if (found := _CANT.match(clause)) is None:
            return None
        verb = found[1]
        return Trouble("sleep" if _SLEEP.match(verb) else "cannot", f"could not {verb}", f"cannot {verb}", verb)

    @staticmethod
    def _fear(clause: str, who: Subject) -> Trouble | None:
        if (found := _AFRAID.match(clause)) is None:
            return None
        are, were = ("are", "were") if who.plural else ("is", "was")
        return Trouble("afraid", f"{were} afraid of {found[1]}", f"{are} afraid of {found[1]}", found[1])

    def _longing(self, clause: str, who: Subject) -> Trouble | None:
        s = "" if who.plural else "s"
        if dream := _DREAMS.match(clause):
            verb = self._lexicon.base_of.get(dream[2].casefold())
            if verb is not None:
                return Trouble(
                    "wants", f"dreamed of {dream[1]}", f"dream{s} of {dream[1]}", verb + dream[1][len(dream[2]) :]
                )
        if found := _SEEKS.match(clause):
            return Trouble("wants", f"wanted to find {found[1]}", f"want{s} to find {found[1]}", f"find {found[1]}")
        if found := _WANTS.match(clause):
            return Trouble("wants", f"wanted to {found[1]}", f"want{s} to {found[1]}", found[1])
        return None

    def _loss(self, clause: str, who: Subject) -> Trouble | None:
        have = "have" if who.plural else "has"
        if found := _LOST.match(clause):
            own = who.pronoun(self._lexicon)[2]
            lost = found[1] if _OWNED.match(found[1]) else f"{own} {found[1]}"
            return Trouble("lost", f"had lost {lost}", f"{have} lost {lost}", lost)
        if (found := _LACKS.match(clause)) and _COMPANY.search(clause):
            lacking = found[1] if found[1].casefold().startswith("no") else f"no {found[1]}"
            return Trouble("lonely", f"had {lacking}", f"{have} {lacking}", lacking)
        return None

    def _state(self, clause: str, who: Subject) -> Trouble | None:
        found = _IS.match(clause)
        if found is None or len(found[1].split()) > 4:
            return None
        are, were = ("are", "were") if who.plural else ("is", "was")
        words = found[1].casefold()
        kind: TroubleKind = "trait"
        if words in _LONELY:
            kind = "lonely"
        elif self._lexicon.negative.intersection(words.split()):
            kind = "adj"
        return Trouble(kind, f"{were} {found[1]}", f"{are} {found[1]}", found[1])


_KINDS = r"(?:story|tale|fairy[- ]?tale|bedtime story|adventure|book)"
_LEAD = re.compile(
    r"^(?:(?:please|hi|hello|dear \w+)[, ]+)*"
    r"(?:(?:can|could|would|will) (?:you|i|we) (?:please )?(?:tell|write|make|have|hear|read|give)(?: up)?(?: me| us)? "
    r"|(?:i|we)(?:\u2019d| would)? (?:really )?(?:want|wish|like|love)(?: for| to hear| to have)? (?=(?:an?|the|some) )"
    r"|(?:tell|write|make up|make|read|give)(?: me| us)? )?"
    r"(?:(?:an?|the|some|another|one) )?(?:[\w-]+ ){0,3}?"
    rf"{_KINDS}s?(?: for (?:my|our|an?|the) \w+(?: \w+)?)? "
    r"(?:about|of|on|with|where|in which|how|for) "
    r"|^(?:about|something about|something with|maybe about) ",
    re.IGNORECASE,
)
_FIRST_PERSON_LEAD = re.compile(
    r"^(?:please )?(?:i|we)(?:\u2019d| would)? (?:really )?(?:want|wish|like|love|dream)(?: of| that)? ", re.IGNORECASE
)
_WHO = re.compile(r",? (?:who|that|which) ", re.IGNORECASE)
_NEGATION = re.compile(r"\b(?:not|no|never|can\u2019t|don\u2019t|won\u2019t)\b", re.IGNORECASE)
_FINITE = re.compile(r"\b(?:is|are|was|were|has|have|can|will|should|must|who|that|because|when|if|which)\b|\. |[?!:;]",
                     re.IGNORECASE)  # fmt: skip
_WANTED = re.compile(
    r"^(?:(?:wants?|wanted|goes|going|gets?|would like|am going|could|can|were able|was able) )?(?:to )?", re.IGNORECASE
)
_TRIP = re.compile(r"^an? (?=(?:trip|journey|voyage|expedition|ride|picnic|holiday)\b)", re.IGNORECASE)
_SEEKING = frozenset({"look", "search", "hunt"})
_HAD = re.compile(r"^had (?=\w)", re.IGNORECASE)


Wish = Helping[Subject, Trouble] | Quest[Subject] | Note


class WishReader:
    """Reads wishes with one lexicon."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._troubles = TroubleReader(lexicon)

    def names_only(self, text: str, names: tuple[str, ...]) -> bool:
        """Returns whether the wish only names the characters."""
        return _without_names(_rest(text), names).casefold() in {"", *map(str.casefold, names)}

    def read(self, text: str, *, names: tuple[str, ...], person: Person, default_problem: str, room: int = 110) -> Wish:
        """Never fails: what it cannot read becomes a Note.

        `names` are the acting people, `default_problem` is the relative clause of a character without one, and `room`
        is the number of characters that a wish may take up.
        """
        rest = _without_names(_rest(text), names)
        if rest and len(rest) <= 1.5 * room:
            if self._begins_with_verb(rest):
                read = self._quest(rest, names, person) or self._helping(rest, names, person, default_problem)
            else:
                read = self._helping(rest, names, person, default_problem) or self._quest(rest, names, person)
            if read is not None:
                return read
            about = self._subject(rest, person)
            if about is not None and not _is_one_of(about, names):
                return Quest(f"find {about.first}", about)
        return Note(closed(text, limit=room))

    def _begins_with_verb(self, text: str) -> bool:
        first, *rest = text.casefold().split()
        if first == "to" or (first in self._lexicon.verbs and first not in self._lexicon.nounish):
            return True
        nouns = self._lexicon.animate | set(self._lexicon.plurals)
        return first in self._lexicon.base_of and first.endswith("ing") and not nouns.intersection(rest[:1])

    def _subject(self, text: str, person: Person) -> Subject | None:
        if _FINITE.search(text):
            return None
        return subject(text, self._lexicon, person)

    def _helping(
        self, text: str, names: tuple[str, ...], person: Person, default_problem: str
    ) -> Helping[Subject, Trouble] | None:
        text = re.sub(r"^(?:to )?(?:meet|help|find|see) (?=.+ who )", "", text, flags=re.IGNORECASE)
        named, *clause = _WHO.split(text, maxsplit=1)
        if not clause and (bare := split_bare(text)):
            named, clause = bare[0], [bare[1]]
        who = self._subject(named, person)
        if who is None or not (who.animate or clause) or _is_one_of(who, names):
            return None
        given = clause[0] if clause else default_problem.removeprefix("who ")
        if len(given.split()) > 14 or re.search(r"[!?:;]|\. ", given):
            return None
        return Helping(who, self._troubles.read(given, who))

    def _quest(self, text: str, names: tuple[str, ...], person: Person) -> Quest[Subject] | None:
        wanted = re.sub(
            rf"^(?:{_any(names)}|i|we|she|he|they|a (?:girl|boy|child)) (?=\w)",
            "",
            text,
            count=1,
            flags=re.IGNORECASE,
        )
        wanted = _HAD.sub("have ", _TRIP.sub("go on a ", wanted))
        if wanted != text:
            wanted = _own(wanted, person)
        plainer = _WANTED.sub("", wanted)
        return self._to_do(wanted.removeprefix("to "), wanted != text, person) or self._to_do(
            plainer, plainer != text, person
        )

    def _to_do(self, wanted: str, clearly: bool, person: Person) -> Quest[Subject] | None:
        """A verb phrase; `clearly` where something before it said that it is one."""
        words = wanted.split()
        if not words or len(words) > 14 or _FINITE.search(wanted) or _NEGATION.search(wanted):
            return None
        first = words[0].casefold()
        if len(words) > 2 and words[1].casefold() == "for" and self._lexicon.base_of.get(first, first) in _SEEKING:
            first, words = "find", ["find", *words[2:]]
        verb = first if first in self._lexicon.verbs else self._lexicon.base_of.get(first, "")
        if not verb or (first in self._lexicon.nounish and not clearly):
            return None
        seen = subject(" ".join(words[1:]), self._lexicon, person) if verb in self._lexicon.seeing else None
        return Quest(" ".join([verb, *words[1:]]), seen)


def _rest(text: str) -> str:
    """What is wished, without "please tell me a story about"."""
    wish = clean(text, limit=240)
    lead = _LEAD.match(wish)
    return (wish[lead.end() :] if lead else _FIRST_PERSON_LEAD.sub("", wish)).strip()


def _own(wanted: str, person: Person) -> str:
    """What is said of the child close to the verb, as the child says it: "finds her dog" is "finds my dog"."""
    whose = {"her": "her", "him": "his", "them": "their"}.get(person, "")
    words = wanted.split()
    return " ".join("my" if word == whose and at in range(1, 4) else word for at, word in enumerate(words))


def _any(names: tuple[str, ...]) -> str:
    return "|".join(map(re.escape, names))


def _without_names(text: str, names: tuple[str, ...]) -> str:
    """Who acts needs no mention beside somebody else: "Mia and a dragon" is a wish for a dragon."""
    text = re.sub(rf"^(?:(?:{_any(names)}),? and )+(?=\w)", "", text, flags=re.IGNORECASE)
    return re.sub(rf"(?<=\w),? and (?:{_any(names)})$", "", text, flags=re.IGNORECASE)


def _is_one_of(who: Subject, names: tuple[str, ...]) -> bool:
    return who.proper and who.first.casefold() in set(map(str.casefold, names))
