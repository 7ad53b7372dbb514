"""What a brief decides before a line of its story is chosen, in any language."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from offline_writer.bands import Band
from offline_writer.brief import Kind, OfflineBrief, clean, closed
from offline_writer.stock import Realiser, Section

Stock = Mapping[str, tuple[Section, ...]]


class Trouble(Protocol):
    """What a wish says of a character."""

    @property
    def kind(self) -> str:
        """A key of the resolutions."""


WhoT = TypeVar("WhoT")
TroubleT = TypeVar("TroubleT", bound=Trouble)


@dataclass(frozen=True, slots=True)
class Helping(Generic[WhoT, TroubleT]):
    """The wish is about a character: the child helps."""

    who: WhoT
    trouble: TroubleT


@dataclass(frozen=True, slots=True)
class Quest(Generic[WhoT]):
    """The wish is to do something."""

    deed: str
    """A verb and what goes with it, as the child would say it: "find my dog"."""
    seen: WhoT | None
    """What is found, met or seen, where the wish is for that."""


@dataclass(frozen=True, slots=True)
class Note:
    """The wish in its own words."""

    text: str


@dataclass(frozen=True, slots=True)
class Interest:
    """One interest, as it stands after "to love": a noun phrase, what one likes to do, or a quotation."""

    phrase: str
    category: str
    """A key of the scenes; "" where it is not known."""
    verbal: bool = False


def first_few(found: Iterable[Interest | None], most: int) -> tuple[Interest, ...]:
    """Returns the first interests that are not empty, none twice."""
    distinct: dict[str, Interest] = {}
    for one in found:
        if one is not None:
            distinct.setdefault(one.phrase.casefold(), one)
    return tuple(distinct.values())[:most]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The people, places and things of a story."""

    kind: Kind
    band: Band
    wish: Helping[Any, Any] | Quest[Any] | Note
    moral: Section
    realm: Section
    companion: Section
    interests: tuple[Interest, ...]
    slots: Mapping[str, str]

    @property
    def plot(self) -> str:
        """The plot of the wish, as a key of the stock."""
        if isinstance(self.wish, Helping):
            return "helper"
        return "quest" if isinstance(self.wish, Quest) else "note"

    @property
    def outcome(self) -> str:
        """The resolution, as a key of the stock."""
        if isinstance(self.wish, Helping):
            return str(self.wish.trouble.kind)
        if isinstance(self.wish, Quest):
            return "find" if self.wish.seen is not None else "do"
        return "note"


CastT = TypeVar("CastT", bound=Cast)


class CastBuilder(ABC, Generic[CastT]):
    """Builds the casts of one language from one stock."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._phrases = {section.key: section.lines() for section in stock["phrases"]}
        # Plainer words for the youngest.
        simpler = (line.text.partition("=") for line in self._phrases.get("simple", ()))
        self._simpler = {word.strip(): simple.strip() for word, _, simple in simpler}

    @abstractmethod
    def cast(self, brief: OfflineBrief, *, told: str = "") -> CastT:
        """Returns the cast, the same for the same brief. A companion whose name is in `told` is replaced there."""

    def realiser(self, cast: CastT, rng: random.Random) -> Realiser:
        """Returns the realiser for the lines of one story."""
        return Realiser(cast.slots, rng, cast.band.readers, simpler=self._simpler)

    def _moral(
        self, brief: OfflineBrief, rng: random.Random, *, room: int, heard: Callable[[str], bool] = lambda _: False
    ) -> tuple[Section, str]:
        """Returns a scene, and a moral in free text, closed as a sentence of `room` characters ("" for a known moral).

        A scene that was `heard` of before is avoided if possible.
        """
        morals: dict[str, list[Section]] = {}
        for section in self._stock["morals"]:
            morals.setdefault(section.key.partition(".")[0], []).append(section)
        others = morals.pop("other")
        text = clean(brief.moral, limit=120).casefold()
        known = next((key for key, scenes in morals.items() if text in {key, *scenes[0].listed("names")}), "")
        if known or not text:
            scenes = morals[known or rng.choice(sorted(morals))]
            return rng.choice([scene for scene in scenes if not heard(scene.fields["boon"])] or scenes), ""
        return others[0], closed(brief.moral, limit=room)
