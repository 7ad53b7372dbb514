"""What a brief decides before a line of its story is chosen, in any language."""

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

from offline_writer.bands import Band, band_of
from offline_writer.brief import Kind, OfflineBrief, clean, closed
from offline_writer.picking import Picker
from offline_writer.stock import Realiser, Section, by_key
from offline_writer.suitable import Vocabulary
from offline_writer.topics import TopicReader, for_children, hard_topic

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


PLOTS: Mapping[type, str] = {Helping: "helper", Quest: "quest"}
"""Keys of the stock by what was wished."""


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
    wish: Helping[Any, Any] | Quest[Any]
    moral: Section
    realm: Section
    companion: Section
    interests: tuple[Interest, ...]
    slots: Mapping[str, str]
    shape: Section
    picker: Picker
    understood: bool
    """Whether the wish is told."""
    wished: bool = True
    """Whether the brief has one that may be told."""
    own_scenes: int = 99
    """Most scenes of the shape's own place, before the story goes on to the theme's."""

    @property
    def plot(self) -> str:
        """The plot of the wish, as a key of the stock."""
        return PLOTS[type(self.wish)]

    @property
    def outcome(self) -> str:
        """The resolution, as a key of the stock."""
        if isinstance(self.wish, Helping):
            return str(self.wish.trouble.kind)
        return "find" if self.wish.seen is not None else "do"


CastT = TypeVar("CastT", bound=Cast)


def called(companion: Section) -> str:
    """Returns the companion's name as an outline has it."""
    return companion.fields["name"].partition(",")[0]


def gift(moral: Section) -> str:
    """Returns what the main character has at the end, as an outline has it."""
    return moral.fields["boon"].partition(",")[0]


def _names(section: Section) -> frozenset[str]:
    """Returns the words by which a moral or a theme is asked for."""
    return frozenset(name.casefold() for name in (section.key.partition(".")[0], *section.listed("names")))


_SENTENCE = re.compile(r"[.!?;\n]+")
_REMEMBERED = 8
"""Casts of the last briefs."""
_THEMED_MINUTES = 8
"""From so many minutes on there is room to go to the theme's place from anywhere."""


class CastBuilder(ABC, Generic[CastT]):
    """Builds the casts of one language from one stock."""

    def __init__(self, stock: Stock, topics: TopicReader, vocabulary: Vocabulary) -> None:
        self._stock = stock
        self._topics = topics
        self._vocabulary = vocabulary
        self._phrases = {section.key: section.lines() for section in stock["phrases"]}
        # Plainer words for the youngest.
        simpler = (line.text.partition("=") for line in self._phrases.get("simple", ()))
        self._simpler = {word.strip(): simple.strip() for word, _, simple in simpler}
        joints = " ".join(line.text for line in self._phrases.get("joints", ()))
        self._joints = re.compile(joints, re.VERBOSE) if joints else None
        self._known = frozenset().union(*map(_names, (*stock["morals"], *stock["themes"])))
        # A story asks for its cast up to four times: for its plan, for its text, and for the title of each.
        self._remembered = lru_cache(_REMEMBERED)(self._made)

    def cast(self, brief: OfflineBrief, *, told: str = "") -> CastT:
        """Returns the cast, the same for the same brief. A companion whose name is in `told` is replaced there."""
        return self._remembered(brief, told)

    def _made(self, brief: OfflineBrief, told: str) -> CastT:
        of_character = self._of_character(brief)
        hard = hard_topic(brief, self._topics, of_character=of_character)
        careful = for_children(brief, self._topics, self._vocabulary, known=self._known, of_character=of_character)
        if hard:
            careful = replace(careful, kind="child", hero=None)
        cast = self._cast(careful, hard=hard, told=told)
        refused = brief.wish != careful.wish and (not hard or self._topics.unsafe(brief.wish))
        refused = refused or not all(map(self._vocabulary.suits, brief.interests))
        sentences = _SENTENCE.split(f"{brief.wish}\n{brief.audience_note}")
        grieved = [one for one in sentences if hard and hard in self._topics.topics(one)]
        sorrow = self._sorrow(grieved[0], brief, hard) if len(grieved) == 1 else {}
        return replace(
            cast, understood=cast.understood and not refused, wished=bool(careful.wish.strip()),
            slots={**cast.slots, **sorrow},
        )  # fmt: skip

    @abstractmethod
    def _of_character(self, brief: OfflineBrief) -> bool:
        """Returns whether the wish is for a story about a character."""

    def _sorrow(self, text: str, brief: OfflineBrief, hard: str) -> Mapping[str, str]:
        """Returns slots for the one of whom a sentence says the hard topic, none if that is not certain."""
        del text, brief, hard
        return {}

    def realiser(self, cast: CastT, rng: random.Random) -> Realiser:
        """Returns the realiser for the lines of one story."""
        return self._realiser(cast.slots, rng, cast.band, cast.picker)

    def _realiser(self, slots: Mapping[str, str], rng: random.Random, band: Band, picker: Picker) -> Realiser:
        return Realiser(slots, rng, band, simpler=self._simpler, joints=self._joints, avoided=picker.avoided)

    @abstractmethod
    def _cast(self, brief: OfflineBrief, *, hard: str, told: str) -> CastT:
        """Returns the cast of a brief that is for children; `hard` is the topic to be comforted, or ""."""

    def _picker(self, brief: OfflineBrief) -> Picker:
        return Picker(brief, avoided=lambda text: self._topics.mentions(text, brief.avoid))

    def _shape(self, brief: OfflineBrief, picker: Picker, *, plot: str, hard: str, realm: str = "") -> Section:
        """Returns the shape of the plot, of those that the child has not heard lately the one of a wanted realm."""
        readers = band_of(brief.age).readers
        themes = "given" if brief.theme.strip() else "none"
        wanted = {"plots": plot, "kinds": brief.kind, "readers": readers, "themes": themes}
        shapes = [
            shape for shape in self._stock["shapes"]
            if "parts" in shape.fields and shape.fields.get("topic", "") == hard
            and all(shape.allows(field, value) for field, value in wanted.items())
            and int(shape.fields.get("from", 0)) <= band_of(brief.age).oldest
            and int(shape.fields.get("least", 1)) <= brief.length_minutes <= int(shape.fields.get("most", 30))
        ]  # fmt: skip
        # A theme is where the story goes, and an earlier story is remembered at the beginning.
        if brief.theme and brief.length_minutes < _THEMED_MINUTES:
            shapes = [shape for shape in shapes if "place" not in shape.fields] or shapes
        if brief.sequel:
            shapes = [shape for shape in shapes if "beginning" in shape.listed("parts")] or shapes
        ordered = picker.ordered(shapes or [by_key(self._stock["shapes"])["journey"]], called=lambda shape: shape.key)
        there = [one for one in ordered if one.fields.get("realm") == realm and not picker.heard(one.key)]
        return there[0] if there and brief.theme and brief.outline is None else ordered[0]

    def _moral(
        self,
        brief: OfflineBrief,
        picker: Picker,
        *,
        room: int,
        known_before: Callable[[str], bool] = lambda _: False,
    ) -> tuple[Section, str]:
        """Returns a scene, and a moral in free text, closed as a sentence of `room` characters ("" for a known moral).

        A scene whose gift was `known_before` is avoided if possible.
        """
        others = [section for section in self._stock["morals"] if section.key.startswith("other")]
        scenes = [section for section in self._stock["morals"] if section not in others]
        text = clean(brief.moral, limit=120).casefold()
        kinds = {scene.key.partition(".")[0] for scene in scenes if text in _names(scene)}
        if kinds or not text:
            fitting = [scene for scene in scenes if not kinds or scene.key.partition(".")[0] in kinds]
            fresh = [scene for scene in fitting if not known_before(scene.fields["boon"])]
            return picker.one(fresh or fitting, gift), ""
        return picker.one(others), closed(brief.moral, limit=room)
