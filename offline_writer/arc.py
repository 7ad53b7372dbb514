"""The form of a story between a language, which fills it, and the engine, which fits it to a length."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from offline_writer.brief import Feature, OfflineBrief


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
    homeward: bool = False
    """Here the glimpses of the scenes told are gathered, the last first."""


@dataclass(frozen=True, slots=True)
class Arc:
    """A story before it is fitted, in the order of telling."""

    blocks: tuple[Block, ...]


class Language(Protocol):
    """What a language provides."""

    @property
    def code(self) -> str:
        """BCP-47 primary subtag."""
        ...

    def title(self, brief: OfflineBrief) -> str:
        """Returns the title: plain text, one line."""
        ...

    def story(self, brief: OfflineBrief, rng: random.Random) -> Arc:
        """Returns the whole arc."""
        ...

    def continuation(self, brief: OfflineBrief, rng: random.Random, *, told: str, budget: int) -> Arc:
        """Returns the later part of an arc, after any text, with about `budget` words left (may be negative)."""
        ...

    def bridges(self, brief: OfflineBrief) -> Iterator[str]:
        """Yields every sentence that a continuation may begin with."""
        ...


@runtime_checkable
class Versatile(Protocol):
    """A language that supports more than stories about the child."""

    @property
    def features(self) -> frozenset[Feature]:
        """What a brief may request."""
        ...
