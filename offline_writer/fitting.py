"""The form of a story, which a language fills, and the part of it that has the requested length."""

import random
import re
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from offline_writer.brief import Feature, OfflineBrief, Outline


@dataclass(frozen=True, slots=True)
class Unit:
    """Whole sentences that stand or fall together. Level 0 carries the story, 1 and 2 enrich it."""

    text: str
    level: int = 0


Paragraphs = tuple[tuple[Unit, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A stretch of the arc: the opening, a scene of the journey, the turn."""

    key: str
    paragraphs: Paragraphs
    short: Paragraphs | None = None
    """The same in a breath, for stories of a minute or two."""
    shorten: int = 0
    """Which blocks go over to `short` first when room is scarce; the lowest does."""
    spare: bool = False
    """The first to be left out where even the short forms are too long."""
    elastic: bool = False
    """Scenes of the journey: the engine takes as many, from the first on, as the length asks for."""
    requires: str | None = None
    """Told only if the elastic block of this key is."""
    glimpse: Unit | None = None
    """What is seen of this scene again on the way home."""
    scene: str = ""
    """Its key in the outline."""
    homeward: bool = False
    """Here the glimpses of the scenes told are gathered, the last first."""


@dataclass(frozen=True, slots=True)
class Arc:
    """A story before it is fitted, in the order of telling."""

    blocks: tuple[Block, ...]
    outline: Outline = field(default_factory=Outline)
    """What is decided beside the scenes."""
    understood: bool = True
    """Whether the wish is told."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The part of an arc that has the requested length."""

    paragraphs: list[list[str]]
    """Texts of units."""
    scenes: tuple[str, ...]
    """Keys of the told blocks that have one."""


class Language(Protocol):
    """What a language provides."""

    @property
    def code(self) -> str:
        """BCP-47 primary subtag."""
        ...

    @property
    def features(self) -> frozenset[Feature]:
        """What a brief may request beside a story about the child."""
        ...

    def title(self, brief: OfflineBrief) -> str:
        """Returns the title: plain text, one line."""
        ...

    def story(self, brief: OfflineBrief) -> Arc:
        """Returns the whole arc: that of the brief's outline, where it has scenes of this language."""
        ...

    def continuation(self, brief: OfflineBrief, *, told: str, budget: int) -> Arc:
        """Returns the later part of an arc, after any text, with about `budget` words left (may be negative)."""
        ...

    def bridges(self, brief: OfflineBrief) -> Iterator[str]:
        """Yields every sentence that a continuation may begin with."""
        ...


_BOUNDARY = re.compile(r"(?<=[.!?\u2026])[\"\u201d\u2019\u00bb']*[^\S\n]+(?!(?:\u2014 )?[a-z\u0430-\u044f\u0451])|\n+")
_FEWEST_WORDS = 3
"""Words of a sentence that may not come twice; "asked Mia" may."""
_QUOTES = str.maketrans("", "", '"\u201c\u201d\u00ab\u00bb')


def count_words(text: str) -> int:
    """Words as white space divides them."""
    return len(text.split())


def sentence_keys(text: str) -> list[str]:
    """Returns one key for each sentence, the same for two that a listener would call the same.

    A question in quotation marks and the words that report it count as one.
    """
    keys = (part.translate(_QUOTES).strip().casefold() for part in _BOUNDARY.split(text))
    return [key for key in keys if count_words(key) >= _FEWEST_WORDS]


@dataclass(slots=True)
class _Told:
    block: Block
    paragraphs: Paragraphs

    def words(self, *, most: bool) -> int:
        return _words(self.paragraphs, most=most)


@dataclass(slots=True)
class _Slot:
    """A unit on its way into the story; `kept` is what the fitting decides."""

    unit: Unit
    elastic: bool
    kept: bool = True
    words: int = field(init=False)

    def __post_init__(self) -> None:
        self.words = count_words(self.unit.text)
        self.kept = bool(self.words)


def _words(paragraphs: Paragraphs, *, most: bool) -> int:
    return sum(count_words(unit.text) for paragraph in paragraphs for unit in paragraph if most or not unit.level)


def _richness(budget: int) -> float:
    """How fully scenes are told before another one is added: a short story prefers one more scene."""
    return min(0.85, 0.45 + budget / 6000)


def _core_limit(budget: int) -> int:
    """Words that the plot's core may take: from four minutes on there is room for a scene and for enrichment."""
    return budget * 107 // 100 if budget < 600 else max(520, budget * 55 // 100)


def _shortened(frame: list[_Told], budget: int) -> None:
    """Swaps blocks for their short forms, in the order that the language gives, until the core fits.

    What the last swap gained too much is given back to those blocks that need the least of it.
    """
    limit = _core_limit(budget)
    order = sorted(frame, key=lambda told: told.block.shorten)
    for told in order:
        if _core(frame) <= limit:
            break
        if told.block.short is not None:
            told.paragraphs = told.block.short
    for told in reversed(order):
        short, told.paragraphs = told.paragraphs, told.block.paragraphs
        if _core(frame) > limit * 9 // 10:
            told.paragraphs = short


def _core(frame: list[_Told]) -> int:
    return sum(told.words(most=False) for told in frame)


def _scenes(frame: list[_Told], elastic: list[Block], budget: int) -> list[Block]:
    """As many scenes of the journey, from the first on, as the budget has room for."""
    least = _core(frame)
    most = sum(told.words(most=True) for told in frame)
    weight = _richness(budget)
    homeward = any(told.block.homeward for told in frame)
    taken: list[Block] = []
    for block in elastic:
        # The first scene is what makes it a journey, and where even all there is falls short, one more is told: they
        # may press the plot down to its core.
        pressed = not taken or most < budget * 9 // 10
        core = least + _words(block.paragraphs, most=False)
        seen_again = count_words(block.glimpse.text) if homeward and block.glimpse is not None else 0
        full = most + _words(block.paragraphs, most=True) + seen_again
        if (core * 10 // 11 if pressed else core + weight * (full - core)) <= budget:
            least, most = core, full
            taken.append(block)
        elif not pressed:
            break
    return taken


def _homeward(paragraphs: Paragraphs, scenes: Iterable[Block]) -> Paragraphs:
    glimpses = [block.glimpse for block in scenes if block.glimpse is not None][::-1]
    return (*paragraphs, *(tuple(glimpses[at : at + 3]) for at in range(0, len(glimpses), 3)))


def _without_repeats(slots: list[list[_Slot]], told: AbstractSet[str], *, even_core: bool) -> None:
    heard = set(told)
    for slot in (slot for paragraph in slots for slot in paragraph):
        keys = sentence_keys(slot.unit.text)
        repeats = len(set(keys)) < len(keys) or not heard.isdisjoint(keys)
        if repeats and (even_core or slot.unit.level):
            slot.kept = False
        else:
            heard.update(keys)


def _trimmed(slots: list[list[_Slot]], budget: int, rng: random.Random) -> None:
    """Leaves out enrichments in random order until the budget holds.

    The outer layer goes before the inner one, and that of the journey before that of the plot.
    """
    kept = [slot for paragraph in slots for slot in paragraph if slot.kept]
    total = sum(slot.words for slot in kept)
    for level, elastic in ((2, True), (2, False), (1, True), (1, False)):
        layer = [slot for slot in kept if slot.unit.level == level and slot.elastic is elastic]
        rng.shuffle(layer)
        for slot in layer:
            if total <= budget:
                return
            # The last one to go may leave the story further from its length than it was.
            if abs(total - slot.words - budget) < abs(total - budget):
                slot.kept = False
                total -= slot.words


def fit(
    arc: Arc, budget: int, rng: random.Random, *, told: AbstractSet[str] = frozenset(), even_core: bool = False
) -> Fitted:
    """Returns paragraphs of units with about `budget` words in all.

    `told` holds the keys of earlier sentences that must not repeat; with `even_core` a core sentence is dropped too if
    it would.
    """
    elastic = [block for block in arc.blocks if block.elastic]
    frame = [_Told(block, block.paragraphs) for block in arc.blocks if not block.elastic and block.requires is None]
    _shortened(frame, budget)
    if _core(frame) > budget * 11 // 10:
        frame = [told_block for told_block in frame if not told_block.block.spare]
    scenes = _scenes(frame, elastic, budget)
    forms = {told_block.block.key: told_block.paragraphs for told_block in frame}
    chosen = {block.key for block in scenes}
    slots: list[list[_Slot]] = []
    keys: list[str] = []
    for block in arc.blocks:
        if (block.elastic and block.key not in chosen) or (block.requires is not None and block.requires not in chosen):
            continue
        if not block.elastic and block.requires is None and block.key not in forms:
            continue
        keys.append(block.scene)
        form = forms.get(block.key, block.paragraphs)
        paragraphs = _homeward(form, scenes) if block.homeward else form
        slots.extend([_Slot(unit, block.elastic) for unit in paragraph] for paragraph in paragraphs)
    _without_repeats(slots, told, even_core=even_core)
    _trimmed(slots, budget, rng)
    texts = ([slot.unit.text for slot in paragraph if slot.kept] for paragraph in slots)
    return Fitted([paragraph for paragraph in texts if paragraph], tuple(filter(None, keys)))
