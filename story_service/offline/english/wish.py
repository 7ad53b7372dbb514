"""Reads a wish: who it is about and what troubles them, or what the child wants to do; failing both, its words."""

import re
from dataclasses import dataclass
from typing import Literal

from story_service.offline.cleaning import clean, closed
from story_service.offline.english.lexicon import Lexicon
from story_service.offline.english.nouns import Subject, subject
from story_service.offline.english.phrases import Person

TroubleKind = Literal["sleep", "cannot", "afraid", "wants", "lost", "lonely", "adj", "trait"]

_KINDS = r"(?:story|tale|fairy[- ]?tale|bedtime story|adventure|book)"
_LEAD = re.compile(
    r"^(?:(?:please|hi|hello|dear \w+)[, ]+)*"
    r"(?:(?:can|could|would|will) (?:you|i|we) (?:please )?(?:tell|write|make|have|hear|read|give)(?: up)?(?: me| us)? "
    r"|(?:i|we)(?:\u2019d| would)? (?:really )?(?:want|wish|like|love)(?: for| to hear| to have)? (?=(?:an?|the|some) )"
    r"|(?:tell|write|make up|make|read|give)(?: me| us)? )?"
    rf"(?:(?:an?|the|some|another|one) )?(?:[\w-]+ ){{0,3}}?{_KINDS}s? (?:about|of|on|with|where|in which|how|for) "
    r"|^(?:about|something about|something with|maybe about) ",
    re.IGNORECASE,
)
_FIRST_PERSON_LEAD = re.compile(
    r"^(?:please )?(?:i|we)(?:\u2019d| would)? (?:really )?(?:want|wish|like|love|dream)(?: of| that)? ", re.IGNORECASE
)
_WHO = re.compile(r",? (?:who|that|which) |\u2019s? (?=never$)", re.IGNORECASE)
_CANNOT = (
    r"(?:can ?not|can\u2019t|could ?not|couldn\u2019t|is (?:not able|unable) to|was (?:not able|unable) to|never can)"
)
_CANT = re.compile(rf"^{_CANNOT} (?P<vp>.+)$", re.IGNORECASE)
_BARE_CANT = re.compile(rf"^(?P<np>.+?) (?P<clause>(?:{_CANNOT}|(?:is|was|are|were) (?:afraid|scared|frightened|lost|"
                        r"looking)|wants?|wanted|learns?|learning|trying|has lost|lost|looking for|searching for) .+)$",
                        re.IGNORECASE)  # fmt: skip
_AFRAID = re.compile(r"^(?:(?:is|was|are|were) )?(?:so |very )?(?:afraid|scared|frightened|terrified) of (?P<np>.+)$",
                     re.IGNORECASE)  # fmt: skip
_WANTS = re.compile(
    r"^(?:(?:is|was|are|were) )?(?:wants?|wanted|would like|longs|longed|wishes|wished|tries|tried|trying|hopes|hoped|"
    r"learns|learned|learnt|learning|dreams|dreamed|wanting|hoping) (?:how )?to (?P<vp>.+)$", re.IGNORECASE)  # fmt: skip
_DREAMS = re.compile(r"^(?:(?:is|was) )?(?:dreams|dreamed|dreamt|dreaming) of (?P<ing>\w+ing)(?P<rest>.*)$",
                     re.IGNORECASE)  # fmt: skip
_SEEKS = re.compile(r"^(?:(?:is|was|are|were) )?(?:looking|searching|looks|searches|looked|searched) for (?P<np>.+)$",
                    re.IGNORECASE)  # fmt: skip
_LOST = re.compile(r"^(?:has |have |had )?(?:lost|loses|lose|misses|missed|forgot|forgets|has forgotten) (?P<np>.+)$",
                   re.IGNORECASE)  # fmt: skip
_LACKS = re.compile(r"^(?:has|have|had|does not have|doesn\u2019t have|do not have) (?:no|any|nobody|no one|not one) ?"
                    r"(?P<np>.*)$", re.IGNORECASE)  # fmt: skip
_IS = re.compile(r"^(?:is|was|are|were|feels|felt) (?P<adj>.+)$", re.IGNORECASE)
_SLEEP = re.compile(r"^(?:fall asleep|(?:get to |go to )?sleep)\b", re.IGNORECASE)
_NEGATION = re.compile(r"\b(?:not|no|never|can\u2019t|don\u2019t|won\u2019t)\b", re.IGNORECASE)
_FINITE = re.compile(r"\b(?:is|are|was|were|has|have|can|will|should|must|who|that|because|when|if|which)\b|\. |[?!:;]",
                     re.IGNORECASE)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a relative clause says of somebody, in the tenses that the stories need."""

    kind: TroubleKind
    past: str
    """"could not sleep"."""
    now: str
    """"cannot sleep"."""
    detail: str = ""
    """The verb phrase, noun phrase or adjective in it."""


@dataclass(frozen=True, slots=True)
class Helping:
    """The wish is about somebody: the child goes to help."""

    who: Subject
    trouble: Trouble


@dataclass(frozen=True, slots=True)
class Quest:
    """The wish is to do something."""

    verb_phrase: str
    """As the child would say it: "find my dog"."""
    seen: Subject | None
    """What is found, met or seen, where the wish is for that."""


@dataclass(frozen=True, slots=True)
class Note:
    """The wish in its own words."""

    text: str


Wish = Helping | Quest | Note


def _trouble(clause: str, who: Subject, own: str) -> Trouble:
    """Sorts a relative clause. `own` is the possessive that goes with the subject."""
    are, were, have = ("are", "were", "have") if who.plural else ("is", "was", "has")
    s = "" if who.plural else "s"
    if found := _CANT.match(clause):
        verb = found["vp"]
        kind: TroubleKind = "sleep" if _SLEEP.match(verb) else "cannot"
        return Trouble(kind, f"could not {verb}", f"cannot {verb}", verb)
    if found := _AFRAID.match(clause):
        return Trouble("afraid", f"{were} afraid of {found['np']}", f"{are} afraid of {found['np']}", found["np"])
    if found := _WANTS.match(clause):
        return Trouble("wants", f"wanted to {found['vp']}", f"want{s} to {found['vp']}", found["vp"])
    if found := _SEEKS.match(clause):
        verb = f"find {found['np']}"
        return Trouble("wants", f"wanted to {verb}", f"want{s} to {verb}", verb)
    if found := _LOST.match(clause):
        lost = found["np"]
        lost = lost if re.match(r"(?i)(?:a|an|the|its|his|her|their|all)\b", lost) else f"{own} {lost}"
        return Trouble("lost", f"had lost {lost}", f"{have} lost {lost}", lost)
    if found := _LACKS.match(clause):
        lacking = clause.split(maxsplit=1)[1] if clause.split()[0] in {"has", "have", "had"} else f"no {found['np']}"
        if re.search(r"friend|nobody|no one|family|play with|talk to", clause, re.IGNORECASE):
            return Trouble("lonely", f"had {lacking}", f"{have} {lacking}", lacking)
    if (found := _IS.match(clause)) and len(found["adj"].split()) <= 4:
        adjective = found["adj"]
        if adjective.casefold() in {"lonely", "alone", "all alone", "very lonely", "so lonely"}:
            return Trouble("lonely", f"{were} {adjective}", f"{are} {adjective}", adjective)
        return Trouble("adj", f"{were} {adjective}", f"{are} {adjective}", adjective)
    return Trouble("trait", clause, clause)


class WishReader:
    """Reads wishes with one lexicon."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def read(self, text: str, *, name: str, person: Person, default_problem: str, room: int = 110) -> Wish:
        """Never fails: what it does not understand becomes a Note.

        `default_problem` is the relative clause of somebody of whom the wish says nothing else; `room` is
        the number of characters that a wish may take up.
        """
        wish = clean(text, limit=240)
        lead = _LEAD.match(wish)
        rest = wish[lead.end() :] if lead else _FIRST_PERSON_LEAD.sub("", wish)
        rest = rest.strip()
        if rest and len(rest) <= 1.5 * room:
            if self._begins_with_verb(rest):
                read = self._quest(rest, name, person) or self._helping(rest, person, default_problem)
            else:
                read = self._helping(rest, person, default_problem) or self._quest(rest, name, person)
            if read is not None:
                return read
            about = self._subject(rest, person)
            if about is not None:
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

    def _helping(self, text: str, person: Person, default_problem: str) -> Helping | None:
        text = re.sub(r"^(?:to )?(?:meet|help|find|see) (?=.+ who )", "", text, flags=re.IGNORECASE)
        named, *clause = _WHO.split(text, maxsplit=1)
        if not clause and (bare := _BARE_CANT.match(text)):
            named, clause = bare["np"], [bare["clause"]]
        who = self._subject(named, person)
        if who is None or not (who.animate or clause):
            return None
        given = clause[0] if clause else default_problem.removeprefix("who ")
        if len(given.split()) > 14 or re.search(r"[!?:;]|\. ", given):
            return None
        trouble = _trouble(given, who, who.pronoun(self._lexicon)[2])
        if trouble.kind == "adj" and not self._lexicon.negative.intersection(trouble.detail.casefold().split()):
            trouble = Trouble("trait", trouble.past, trouble.now)
        dream = _DREAMS.match(given)
        if dream is not None and (verb := self._lexicon.base_of.get(dream["ing"].casefold())):
            trouble = Trouble("wants", f"dreamed of {dream['ing']}{dream['rest']}",
                              f"dreams of {dream['ing']}{dream['rest']}", verb + dream["rest"])  # fmt: skip
        return Helping(who, trouble)

    def _quest(self, text: str, name: str, person: Person) -> Quest | None:
        wanted = re.sub(
            rf"^(?:(?:{re.escape(name)}|i|we|she|he|they|a (?:girl|boy|child)) )?"
            r"(?:(?:wants?|wanted|goes|going|learns?|gets?|would like|am going) )?(?:how )?(?:to )?",
            "", text, count=1, flags=re.IGNORECASE,
        )  # fmt: skip
        words = wanted.split()
        if not words or len(words) > 14 or _FINITE.search(wanted) or _NEGATION.search(wanted):
            return None
        first = words[0].casefold()
        verb = first if first in self._lexicon.verbs else self._lexicon.base_of.get(first, "")
        if not verb or (len(words) == 1 and first in self._lexicon.nounish and wanted == text):
            return None
        phrase = " ".join([verb, *words[1:]])
        seen = subject(" ".join(words[1:]), self._lexicon, person) if verb in self._lexicon.seeing else None
        return Quest(phrase, seen)
