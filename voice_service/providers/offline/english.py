"""English text as the neural voice needs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Prepared:
    """`text` as the engine gets it; `positions[i]` is where its code point i stands in the text that it came from.

    `phonemes` maps words of `text` (case counts, without what follows an apostrophe) to how the engine says them.
    """

    text: str
    positions: Sequence[int]
    phonemes: Mapping[str, str] = field(default_factory=dict)


def prepare(text: str) -> Prepared:
    """Returns `text` as the engine reads it best."""
    return Prepared(text, range(len(text)))
