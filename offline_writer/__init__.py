"""The embedded writer: bedtime stories without a model, a key or a network.

    writer = OfflineWriter()
    pieces = writer.write(OfflineBrief(name="Mia", wish="a dragon who cannot sleep", language_code="en", seed=1, ...))

A language brings a stock of prose and turns a brief into an arc of blocks; the engine selects how much of that arc fits
the requested length, and continues any text that is there already. Needs only lemminflect, pymorphy3 and simplemma.
"""

from offline_writer.brief import (
    WORDS_PER_MINUTE,
    Gender,
    Kind,
    LanguageUnsupported,
    OfflineBrief,
    Outline,
    Parent,
    Piece,
    Plan,
    Protagonist,
    Scene,
    StoryUnsupported,
)
from offline_writer.writer import OfflineWriter

__all__ = [
    "WORDS_PER_MINUTE",
    "Gender",
    "Kind",
    "LanguageUnsupported",
    "OfflineBrief",
    "OfflineWriter",
    "Outline",
    "Parent",
    "Piece",
    "Plan",
    "Protagonist",
    "Scene",
    "StoryUnsupported",
]
