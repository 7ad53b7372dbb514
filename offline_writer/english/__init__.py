"""English: the stock of prose, and what turns a brief into an arc of it."""

from offline_writer.english.language import English

__all__ = ["English"]
