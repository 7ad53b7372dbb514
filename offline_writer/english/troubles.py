"""Relative clauses about a character: "who cannot sleep", "that has lost its hat", "who is afraid of the dark"."""

import re
from dataclasses import dataclass
from typing import Literal

from offline_writer.english.lexicon import Lexicon
from offline_writer.english.nouns import Subject

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
