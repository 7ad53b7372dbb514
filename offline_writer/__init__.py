"""The embedded writer: bedtime stories without a model, a key or a network.

A language brings a stock of prose and turns a brief into an arc of blocks; the engine beside it
chooses how much of that arc fits the asked length, and goes on from whatever text is there already.
"""

from offline_writer.brief import LanguageUnsupported, OfflineBrief, Piece, StoryUnsupported
from offline_writer.writer import OfflineWriter

__all__ = ["LanguageUnsupported", "OfflineBrief", "OfflineWriter", "Piece", "StoryUnsupported"]
