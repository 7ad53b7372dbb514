"""What a relative clause says of somebody: "который не может уснуть", "у которой нет друзей"."""

import re
from dataclasses import dataclass
from typing import Literal

from story_service.offline.russian.morphology import Morphology

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
    """Never fails: what is not understood is a trait and stays as it was said."""
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
